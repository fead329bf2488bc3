"""`t2 choose` from the command line to the printed answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from t2engine.cli.main import run
from t2engine.laws.observations import read_observations
from t2engine.plan.choice import candidates_from, choose_model
from t2engine.plan.problem import demand_for
from tests.laws.ladder import records, write_csv


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("answers") / "observations.csv"
    return str(write_csv(path, records(num_questions=60)))


def test_json_equals_the_library(answers: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--target", "0.8", "--models", "*-16000000", "--questions", "100", "--json"]
    assert run(["choose", answers, *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    candidates = candidates_from(read_observations(answers), "*-16000000")
    report = choose_model(candidates, 0.8, demand_for(None, 100.0))
    assert report.best is not None
    assert (document["format"], document["unit"]) == ("t2engine.choice", "flops")
    assert document["best"]["model"] == report.best.model
    assert document["best"]["k"] == report.best.k
    assert len(document["options"]) == 4


def test_the_table_names_the_best_and_every_cost(
    answers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["choose", answers, "--target", "0.8"]) == 0
    printed = capsys.readouterr().out
    for words in ("pass@k 0.8 at the least cost", "least: m", "FLOPs", "costs: formula"):
        assert words in printed


def test_a_target_out_of_reach_exits_with_1(
    answers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["choose", answers, "--target", "0.9999", "--max-k", "1"]) == 1
    assert "no model reaches it with up to 1 samples" in capsys.readouterr().out
    assert run(["choose", answers, "--target", "0.9999", "--max-k", "1", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["best"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "2"], "target must be a pass@k above 0 and below 1, got 2"),
        (["--target", "0.5", "--models", "zzz"], "no model's name matches 'zzz'"),
        (["--target", "0.5", "--max-k", "0"], "max_k must be at least 1, got 0"),
        (["--target", "0.5", "--precision", "int8"], "--precision needs --profile"),
        ([], "--target"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    answers: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["choose", answers, *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("t2 choose: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["choose", str(tmp_path / "absent.csv"), "--target", "0.5"]) == 2
    assert "absent.csv: cannot be read" in capsys.readouterr().err
