"""`t2 calibrate` on a small effort: a profile whole or not at all, nothing lost, all in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from t2engine.cli.main import run
from t2engine.costs.measurements import Measurements
from t2engine.costs.profile import build_profile, profile_to_dict, read_profile
from t2engine.hardware import calibration, platform, probes
from t2engine.hardware.design import QUICK
from t2engine.hardware.load import Load
from tests.costs.synthetic import scaled, synthetic_measurements

SMALL = replace(
    QUICK,
    shapes=((32, 320), (48, 320), (64, 320), (96, 320)),
    training_shapes=((32, 320), (48, 320), (64, 320), (96, 320)),
    training_batches=((2, 8), (4, 8), (8, 8)),
    steps_of_shape=5,
    sharing_prompts=(64,),
    sharing_samples=(2, 8),
    seconds=0.5,
    most_rounds=3,
    store_bytes=1 << 23,
    most_samples=8,
    prompts=(5, 9, 40),
    sharing_shape=(32, 320),
)
QUIET, BUSY = Load(0.0, 0.0, 2), Load(1.5, 0.0, 2)
Capture = pytest.CaptureFixture[str]


class Meter:
    load = QUIET

    def start(self) -> None: ...

    def stop(self) -> Load:
        return self.load

    def sample(self, seconds: float) -> Load:
        return self.load


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """A small effort, on a machine whose load is what the test says."""
    meter = Meter()
    monkeypatch.setattr(platform, "QUICK", SMALL)
    monkeypatch.setattr(probes, "READ_BYTES", (1 << 20, 1 << 22))
    monkeypatch.setattr(probes, "VOCABULARIES", (320,))
    monkeypatch.setattr(probes, "WIDTHS", (256, 1024))
    monkeypatch.setattr("t2engine.hardware.rounds.find_load_meter", lambda: (meter, None))
    monkeypatch.setattr("t2engine.hardware.rounds.SHORTEST_SECONDS", 0.0)
    monkeypatch.setattr(calibration, "find_load_meter", lambda: (meter, None))
    return meter


def calibrate(out: Path, *options: str) -> int:
    return run(["calibrate", "--quick", "--threads", "1", "--out", str(out), *options])


@pytest.fixture
def profile_file(tmp_path: Path) -> Path:
    return write_profile(tmp_path / "planted.json", synthetic_measurements(noise=0.03))


def write_profile(path: Path, measured: Measurements) -> Path:
    path.write_text(json.dumps(profile_to_dict(build_profile(measured))))
    return path


def test_a_profile_and_its_page(tmp_path: Path, meter: Meter, capsys: Capture) -> None:
    out = tmp_path / "machine.json"
    assert calibrate(out, "--png", str(tmp_path / "machine.png")) == 0
    profile = read_profile(out)
    assert set(profile.steps) == {"float32/float32"}
    assert profile.training is not None
    assert profile.measured.energy["counter"] is None or profile.energy is not None
    assert {e.kind for e in profile.held_out} >= {"decode", "training"}
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("machine.html", "machine.json", "machine.png"),
    ]
    words = capsys.readouterr().out
    assert "how far off" in words
    assert str(out) in words


def test_a_busy_machine_is_not_measured(tmp_path: Path, meter: Meter, capsys: Capture) -> None:
    meter.load = BUSY
    assert calibrate(tmp_path / "machine.json") == 1
    assert "busy" in (error := capsys.readouterr().err)
    assert "others use 1.50 of 2 cores" in error
    assert "--force" in error
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_becomes_busy_keeps_its_rounds(
    tmp_path: Path, meter: Meter, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, partial = tmp_path / "machine.json", tmp_path / "machine.json.partial"
    monkeypatch.setattr(meter, "sample", lambda seconds: QUIET)
    meter.load = BUSY
    assert calibrate(out) == 1
    assert "not saved" in capsys.readouterr().err
    assert partial.exists()
    assert not out.exists()


def test_force_saves_what_a_busy_machine_gave(
    tmp_path: Path, meter: Meter, capsys: Capture
) -> None:
    meter.load = BUSY
    assert calibrate(tmp_path / "machine.json", "--force", "--no-page") == 0
    captured = capsys.readouterr()
    assert "busy" in captured.err
    assert "busy rounds" in captured.out
    assert read_profile(tmp_path / "machine.json").measured.conditions["busy_rounds"] == 3


def test_ctrl_c_keeps_what_was_measured(
    tmp_path: Path, meter: Meter, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, partial = tmp_path / "machine.json", tmp_path / "machine.json.partial"
    visited = []
    seconds = probes.Probe.seconds

    def interrupted(probe: probes.Probe) -> float:
        visited.append(probe)
        if len(visited) == 12:  # after those that say how fast the machine is
            raise KeyboardInterrupt
        return seconds(probe)

    monkeypatch.setattr(probes.Probe, "seconds", interrupted)
    assert calibrate(out) == 130
    assert str(partial) in capsys.readouterr().err
    assert not out.exists()
    kept = [line for line in partial.read_text().splitlines() if '"task"' in line]
    assert kept
    assert calibrate(out, "--no-page") == 0
    assert "going on from" in capsys.readouterr().err
    assert not partial.exists()
    first = json.loads(kept[0])
    values = [value for p in read_profile(out).measured.points for value in p.seconds]
    assert first["seconds"] in values


def test_another_commands_measurements_are_refused(
    tmp_path: Path, meter: Meter, capsys: Capture
) -> None:
    out, partial = tmp_path / "machine.json", tmp_path / "machine.json.partial"
    partial.write_text('{"header": {"machine": "another"}}\n')
    assert calibrate(out) == 2
    assert "remove it to begin anew" in capsys.readouterr().err
    assert partial.exists()


def test_show_measures_nothing(profile_file: Path, capsys: Capture) -> None:
    assert run(["calibrate", "--show", str(profile_file)]) == 0
    captured = capsys.readouterr()
    assert "how far off" in captured.out
    assert "another machine" in captured.err
    assert "cpu A <planted> & noisy processor there" in captured.err
    assert profile_file.with_suffix(".html").exists()


def test_json_is_the_profile(profile_file: Path, capsys: Capture) -> None:
    assert run(["calibrate", "--show", str(profile_file), "--json", "--no-page"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(profile_file.read_text())


def test_two_profiles_are_compared(tmp_path: Path, profile_file: Path, capsys: Capture) -> None:
    slower = scaled(synthetic_measurements(seed=1, noise=0.03), 1.5)
    slower = replace(slower, machine={**slower.machine, "cpu": "another processor"})
    other = write_profile(tmp_path / "other.json", slower)
    assert run(["calibrate", "--compare", str(profile_file), str(other)]) == 0
    words = capsys.readouterr().out
    assert "another processor" in words
    assert "cpu differs" in words
    assert "1.5" in words
    assert run(["calibrate", "--compare", str(profile_file), str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"]["median"] == pytest.approx(1.5, rel=0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--precision", "float64"], ["weights one of float32"]),
        (["--device", "tpu"], ["device must be", "tpu"]),
        (["--device", "cuda"], ["device must be"]),
        (["--out", "/nowhere/x.json"], ["/nowhere/x.json must be a file in a directory"]),
        (["--show", "/nowhere/x.json"], ["no such file", "t2 calibrate --out"]),
        (["--threads", "0"], ["--threads"]),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, meter: Meter, capsys: Capture, options: list[str], words: list[str]
) -> None:
    assert run(["calibrate", "--quick", "--out", str(tmp_path / "x.json"), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    for word in words:
        assert word in captured.err
    assert list(tmp_path.iterdir()) == []
