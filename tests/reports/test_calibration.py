from __future__ import annotations

from dataclasses import replace

import pytest

from t2engine.costs.comparison import compare
from t2engine.costs.evaluation import summarise
from t2engine.costs.profile import HardwareProfile
from t2engine.costs.sharing import sharing_grid
from t2engine.reports.calibration import print_comparison, print_profile
from t2engine.reports.units import show_percent, show_seconds, show_times
from tests.costs.synthetic import scaled
from tests.reports.profiles import (
    noisy,
    where_sharing_loses,
    with_conditions,
    with_points,
    without_sharing,
)

Capture = pytest.CaptureFixture[str]


def printed(profile: HardwareProfile, capsys: Capture) -> str:
    """In one line, as the terminal's width may have cut it anywhere."""
    print_profile(profile)
    return " ".join(capsys.readouterr().out.split())


def test_every_summary_is_a_row(planted: HardwareProfile, capsys: Capture) -> None:
    print_profile(planted)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for row in summarise(planted.held_out):
        [cells] = [line for line in lines if line[:2] == [row.name, str(row.count)]]
        shares = (row.median, row.ninetieth, row.worst, row.covered, row.repeat_spread)
        assert cells[2:7] == [show_percent(share).removesuffix(" %") for share in shares]
        assert cells[7:9] == [
            show_percent(row.two_n).removesuffix(" %"),
            f"({show_times(row.two_n / row.median)})",
        ]


def test_tables_fit_eighty_columns(planted: HardwareProfile, capsys: Capture) -> None:
    print_profile(planted)
    print_comparison(compare(planted, planted))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out


def test_what_is_said_of_the_machine(planted: HardwareProfile, capsys: Capture) -> None:
    out = printed(planted, capsys)
    assert "A <planted> & noisy processor, 4 threads of 4 cores, avx2" in out
    assert "GFLOP/s" in out
    assert "GB/s" in out
    [sample] = planted.measured.of_kind("sample")
    assert f"a sample costs {show_seconds(sample.median)} beside the steps" in out
    assert "warning" not in out


def test_sharing_is_told_with_its_losses(planted: HardwareProfile, capsys: Capture) -> None:
    out = printed(planted, capsys)
    grid = sharing_grid(planted)
    for pair in grid:
        assert f"{show_times(pair.gain)} ({show_times(pair.predicted_gain)})" in out
    assert f"sharing loses at none of the {len(grid)} shapes" in out
    lost = printed(where_sharing_loses(planted), capsys)
    assert "sharing loses at 2 samples of a prompt of 128 tokens" in lost
    assert lost.count("sharing loses at") == 1
    assert "sharing loses" not in printed(without_sharing(planted), capsys)


def test_energy_or_its_reason(planted: HardwareProfile, capsys: Capture) -> None:
    assert "Energy: null." in printed(planted, capsys)

    def out(energy: dict[str, object]) -> str:
        measured = replace(planted.measured, energy=energy)
        return printed(replace(planted, measured=measured), capsys)

    assert "no RAPL here" in out({"counter": None, "reason": "no RAPL here", "points": []})
    told = out({"counter": "rapl", "reason": None, "points": [{"joules": 3.0}] * 2})
    assert "measured by rapl, at 2 points" in told
    assert "null" not in told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"busy_rounds": 2, "rounds": 6}, "busy in 2 of 6 rounds"),
        ({"shapes_left_out": [[1024, 8192]]}, "hidden size 1024 x vocabulary 8192"),
        ({"monotonic": False}, "not monotonic"),
    ],
)
def test_conditions_that_are_warned_of(
    planted: HardwareProfile, capsys: Capture, changes: dict[str, object], said: str
) -> None:
    assert said in printed(with_conditions(planted, **changes), capsys)


def test_a_noisy_machine_is_told(planted: HardwareProfile, capsys: Capture) -> None:
    out = printed(noisy(planted), capsys)
    assert "warning: noisy: repeats of a step differ by 29 %" in out


def test_a_fit_that_did_not_converge_is_told(planted: HardwareProfile, capsys: Capture) -> None:
    steps = {name: replace(fit, converged=False) for name, fit in planted.steps.items()}
    assert "the fit of float32/float32 did not converge" in printed(
        replace(planted, steps=steps), capsys
    )


def test_intervals_that_are_too_narrow_are_told(planted: HardwareProfile, capsys: Capture) -> None:
    entries = tuple(replace(e, low=2 * e.measured, high=3 * e.measured) for e in planted.held_out)
    out = printed(replace(planted, held_out=entries), capsys)
    count = sum(entry.kind == "training" for entry in planted.held_out)
    assert f"training: only 0.0 % of {count} held-out points" in out


def test_no_held_out_points(planted: HardwareProfile, capsys: Capture) -> None:
    nothing = replace(with_points(planted, lambda p: None if p.held_out else p), held_out=())
    assert "product, float32 weights" in printed(nothing, capsys)


# ---- comparisons -------------------------------------------------------------------------------


def compared(old: HardwareProfile, new: HardwareProfile, capsys: Capture) -> str:
    print_comparison(compare(old, new))
    return " ".join(capsys.readouterr().out.split())


def test_the_same_profile(planted: HardwareProfile, capsys: Capture) -> None:
    out = compared(planted, planted, capsys)
    assert "Steps take as long as before, 1.00 times" in out
    assert "differs" not in out


@pytest.mark.parametrize(
    ("factor", "said"),
    [(1.5, "Steps take 1.50 times as long as before"), (0.5, "Steps are 2.00 times as fast")],
)
def test_another_pace(planted: HardwareProfile, capsys: Capture, factor: float, said: str) -> None:
    new = replace(planted, measured=scaled(planted.measured, factor))
    out = compared(planted, new, capsys)
    assert said in out
    roofs = out.split("new / old")[1].split(" GFLOP/s")
    assert roofs[2].split()[0] == f"{1 / factor:.2f}"


def test_another_machine(planted: HardwareProfile, capsys: Capture) -> None:
    machine = {**planted.measured.machine, "cpu": "Another"}
    new = replace(planted, measured=replace(planted.measured, machine=machine))
    out = compared(planted, new, capsys)
    assert "differs: cpu: A <planted> & noisy processor before, Another now" in out
    assert "warning: cpu differs" in out
