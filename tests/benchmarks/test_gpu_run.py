"""benchmarks/gpu_run.sh as far as a machine without a GPU can tell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/gpu_run.sh"
STAGES = ["build", "test", "sanitize", "anchors", "kernels", "attention", "decode", "table"]


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
    assert re.search(r'^STAGES="(.*)"$', text, re.M).group(1).split() == STAGES
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


def test_what_waits_for_a_gpu_names_stages_that_exist():
    owed = (ROOT / "benchmarks/results/OWED.md").read_text()
    for line in re.findall(r"gpu_run\.sh ([a-z_ ]+)", owed):
        assert set(line.split()) <= set(STAGES), line
