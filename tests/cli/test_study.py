from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from t2engine.cli.main import run
from t2engine.laws.observations import read_observations
from t2engine.study import evaluate

MODEL = Path(evaluate.__file__).parent / "data" / "arithmetic"


def test_help_does_not_import_torch():
    code = "import sys, t2engine.cli.study; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "{empty}", "--out", "{out}"], "must be a finished run or hold some"),
        (["evaluate", "{empty}/none", "--out", "{out}"], "must be a finished run or hold some"),
        (["evaluate", "{empty}", "--out", "{out}", "--questions", "0"], "--questions"),
        (["evaluate", "{empty}", "--out", "{out}", "--samples", "-1"], "--samples"),
        (["evaluate", "{model}", "--out", "{out}", "--questions", "10001"], "at most 10000"),
        (["evaluate", "{model}", "--out", "{empty}"], "must be a file to write"),
        (["evaluate", "{empty}"], "--out"),
        (["train", "--out", "{model}/config.json"], "must be a directory or absent"),
        (["train", "--out", "{empty}", "--jobs", "0"], "--jobs"),
        (["train"], "--out"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    empty, out = tmp_path / "empty", tmp_path / "out.csv"
    empty.mkdir()
    assert (
        run(["study", *(word.format(empty=empty, out=out, model=MODEL) for word in arguments)]) == 2
    )
    error = capfd.readouterr().err.strip()
    assert words in error
    assert "\n" not in error
    assert list(tmp_path.rglob("*")) == [empty]


def test_evaluate_measures_the_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out.csv"
    arguments = ["--out", str(out), "--questions", "5", "--samples", "4", "--seed", "4"]
    assert run(["study", "evaluate", str(MODEL), *arguments]) == 0
    shown = capsys.readouterr().out
    assert "99,600" in shown
    assert "pass@4" in shown
    assert run(["study", "evaluate", str(MODEL), *arguments, "--json"]) == 0
    [model] = json.loads(capsys.readouterr().out)["models"]
    assert (model["N"], model["questions"]) == (99_600, 5)
    assert list(model["pass_at_k"]) == ["1", "4"]
    rows = list(read_observations(out))
    assert len({row.question for row in rows}) == 5
    assert {row.num_samples for row in rows} == {4}
