"""benchmarks/gpu_run.sh as far as a machine without a GPU can tell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/gpu_run.sh"
STAGES = (
    *("build", "test", "sanitize", "anchors", "kernels", "attention", "decode"),
    *("training", "calibrate", "table"),
)


def run(*arguments, **environment):
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def test_it_parses():
    assert subprocess.run(["bash", "-n", str(SCRIPT)]).returncode == 0


def test_every_stage_has_its_function():
    text = SCRIPT.read_text()
    assert re.search(r'^STAGES="(.*)"$', text, re.M).group(1).split() == list(STAGES)
    assert set(re.findall(r"^stage_(\w+)\(\)", text, re.M)) == set(STAGES)


def test_what_it_measures_is_a_program():
    for name in re.findall(r"\bmeasure (\w+)", SCRIPT.read_text()):
        assert (ROOT / f"benchmarks/gpu/{name}.py").is_file()


@pytest.mark.parametrize("arguments", [["bench"], ["build", "tset"], ["", "table"]])
def test_an_unknown_stage_is_refused_before_anything_runs(arguments, tmp_path):
    done = run(*arguments, OUT=str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.startswith("gpu_run.sh: a stage must be one of build test")
    assert not (tmp_path / "out").exists()


def test_a_wrong_limit_is_refused(tmp_path):
    done = run("table", OUT=str(tmp_path / "out"), LIMIT="soon")
    assert done.returncode == 2
    assert "LIMIT must be a number of seconds, got 'soon'" in done.stderr


PYTHON = """#!/bin/bash
echo "$@" >>"$CALLS"
[[ $2 == benchmarks.gpu.decode ]] && (($(grep -c benchmarks.gpu.decode "$CALLS") < 3)) && exit 3
[[ $2 == benchmarks.gpu.kernels ]] && exit 1
exit 0
"""


@pytest.fixture
def copy(tmp_path):
    """The script alone in a tree of its own, with a python3 that only says what it was asked."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "bin").mkdir()
    script = tmp_path / "benchmarks/gpu_run.sh"
    script.write_text(SCRIPT.read_text())
    python = tmp_path / "bin/python3"
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "CALLS": str(tmp_path / "calls"),
        "OUT": str(tmp_path / "out"),
    }

    def run_copy(*arguments, **more):
        done = subprocess.run(
            ["bash", str(script), *arguments],
            capture_output=True,
            text=True,
            env=environment | more,
        )
        return done, (tmp_path / "calls").read_text().splitlines()

    return run_copy


def programs(calls):
    return [line.split()[1].rpartition(".")[2] for line in calls if "benchmarks.gpu" in line]


def test_the_first_stage_builds_and_the_next_does_not(copy):
    _, calls = copy("attention")
    assert sum("pip install" in line for line in calls) == 1
    _, calls = copy("attention", "build")
    assert sum("pip install" in line for line in calls) == 2
    assert programs(calls) == ["attention_peers", "attention_peers"]


def test_a_broken_device_is_a_new_process_and_a_failed_stage_does_not_end_the_others(copy):
    done, calls = copy("kernels", "decode", "anchors", QUICK="1")
    assert programs(calls) == ["kernels", *["decode"] * 3, "ceilings", "warm_peers"]
    for line in (line for line in calls if "benchmarks" in line):
        limit = 220 if "warm" in line else 100
        assert limit - 10 < int(re.search(r"--seconds (\d+) --quick", line).group(1)) <= limit
    assert done.returncode == 1
    assert done.stderr.endswith("gpu_run.sh: failed: kernels\n")


def test_a_profile_is_made_late_and_once(copy, tmp_path):
    for order in re.findall(r"gpu_run\.sh (.*table)$", SCRIPT.read_text(), re.M):
        assert order.split()[-2:] == ["calibrate", "table"]
    _, calls = copy("calibrate")
    [line] = [line for line in calls if "calibrate" in line]
    profile = tmp_path / "out/profile.json"
    assert line.endswith(f"calibrate --device cuda --quick --force --out {profile}")
    profile.write_text("{}")
    done, again = copy("calibrate")
    assert done.returncode == 0
    assert sum("calibrate" in line for line in again) == 1


def test_quick_leaves_out_tests_that_need_no_gpu(copy):
    _, calls = copy("test")
    _, both = copy("test", QUICK="1")
    [full], [quick] = (
        [x for x in lines if "-m pytest" in x] for lines in (calls, both[len(calls) :])
    )
    assert "--ignore-glob" not in full
    assert "--ignore-glob=*cuda_on_cpu*" in quick
    assert all("tests/kernels" in line for line in (full, quick))


def test_what_waits_for_a_gpu_names_stages_that_exist():
    owed = (ROOT / "benchmarks/results/OWED.md").read_text()
    for line in re.findall(r"gpu_run\.sh ([a-z_ ]+)", owed):
        assert set(line.split()) <= set(STAGES), line
