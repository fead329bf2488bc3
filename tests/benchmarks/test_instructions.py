"""A decode step takes no more instructions than it did when they were last written down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import instructions

ROWS = 8
counts = pytest.mark.skipif(instructions.why_not() is not None, reason=str(instructions.why_not()))


def check(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.instructions", "--rows", str(ROWS), "--check"]
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, cwd=instructions.ROOT
    )


@counts
def test_one_step_has_not_grown() -> None:
    done = check()
    assert done.returncode == 0, done.stderr
    assert f"{ROWS} rows: " in done.stdout


@counts
def test_check_fails_where_a_step_has_grown(tmp_path: Path) -> None:
    instructions.build()
    figures = json.loads(instructions.FIGURES.read_text())
    figures["compiler"] = instructions.compiler()
    figures["instructions"][str(ROWS)] = instructions.count(ROWS) * 97 // 100
    smaller = tmp_path / "smaller.json"
    smaller.write_text(json.dumps(figures))
    done = check("--figures", str(smaller))
    assert done.returncode == 1
    assert "above" in done.stderr


def test_only_the_same_compiler_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"compiler": "c++ 1", "instructions": {"1": 100, "8": 100}}
    assert instructions.compare({1: 101, 8: 90}, figures, "c++ 1") == []
    [failure] = instructions.compare({1: 103, 8: 100, 64: 7}, figures, "c++ 1")
    assert failure.startswith("   1 rows: 103 ")
    assert instructions.compare({1: 103}, figures, "c++ 2") == []
    assert "do not bind" in capsys.readouterr().out
