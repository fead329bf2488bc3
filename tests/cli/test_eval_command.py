"""`t2 eval` where lm-evaluation-harness is not installed; tests/integrations has it installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from t2engine.cli.main import run


def test_help_imports_neither_torch_nor_the_harness() -> None:
    code = "import sys, t2engine.cli.eval; sys.exit(any(m in sys.modules for m in {!r}))"
    command = [sys.executable, "-c", code.format(("torch", "lm_eval"))]
    assert subprocess.run(command, check=False).returncode == 0


def test_without_the_harness_one_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "lm_eval" else find(name)
    )
    assert run(["eval", "--tasks", "gsm8k"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "pip install 't2engine[eval]'" in shown.err


def test_tasks_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval"]) == 2
    assert "--tasks" in capsys.readouterr().err
