"""The files that come with the package say the truth about each other."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from t2engine.laws.observations import read_shipped_observations
from t2engine.model.llama import count_parameters
from t2engine.schema import Observation
from t2engine.study import evaluate, ladder, training
from t2engine.study.checkpoint import load_model
from t2engine.study.tasks.arithmetic import ARITHMETIC

DATA = Path(evaluate.__file__).parent / "data"
MODEL = DATA / "arithmetic"
LARGEST_MODEL = 3_000_000  # bytes


@pytest.fixture(scope="module")
def observed() -> dict[tuple[str, int, int], list[Observation]]:
    rows = defaultdict(list)
    for row in read_shipped_observations():
        rows[row.model, row.N, row.D].append(row)
    return rows


@pytest.fixture(scope="module")
def record() -> dict:
    return json.loads((MODEL / training.RECORD).read_text(encoding="utf-8"))


def test_model_is_small_and_one_of_the_ladder(record: dict):
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= LARGEST_MODEL
    run = next(run for run in ladder.build_ladder() if run.name == record["run"]["name"])
    assert training.is_finished(run, MODEL)
    assert count_parameters(load_model(MODEL)) == record["N"] == run.N


def test_every_run_of_the_ladder_was_asked_the_same_held_out_questions(observed):
    runs = {(run.name, run.N): run.D for run in ladder.build_ladder()}
    assert {(name, N) for name, N, _ in observed} == set(runs)
    want = [
        question.prompt for question in ARITHMETIC.held_out_questions(evaluate.NUM_QUESTIONS, 0)
    ]
    for (name, N, D), rows in observed.items():
        assert runs[name, N] <= D < 1.01 * runs[name, N]
        assert [row.question for row in rows] == want
        assert {row.num_samples for row in rows} == {evaluate.NUM_SAMPLES}


def test_gold_losses_are_those_of_the_model(observed, record: dict):
    rows = observed[record["run"]["name"], record["N"], record["D"]]
    questions = ARITHMETIC.held_out_questions(evaluate.NUM_QUESTIONS, 0)
    losses = training.gold_losses(load_model(MODEL), questions)
    assert [row.gold_nll for row in rows] == pytest.approx(losses, abs=1e-3)


def test_counts_are_what_the_engine_draws_today(observed, record: dict):
    rows = observed[record["run"]["name"], record["N"], record["D"]][:24]
    questions = ARITHMETIC.held_out_questions(len(rows), 0)
    fresh = evaluate.evaluate(MODEL, questions, num_samples=64, seed=0)
    differences = [
        abs(row.num_correct - new.num_correct) for row, new in zip(rows, fresh, strict=True)
    ]
    assert sum(differences) <= 4  # a processor that rounds otherwise may flip a draw


def test_success_spreads_and_climbs_with_k(observed, record: dict):
    rows = observed[record["run"]["name"], record["N"], record["D"]]
    shares = [row.num_correct / row.num_samples for row in rows]
    assert 0.1 < sum(shares) / len(shares) < 0.5
    assert sum(0.02 < share < 0.98 for share in shares) > len(shares) / 2
    assert sum(row.num_correct > 0 for row in rows) / len(rows) > 0.8


def test_card_gives_the_measured_pass_at_1(observed, record: dict):
    rows = observed[record["run"]["name"], record["N"], record["D"]]
    pass_at_1 = sum(row.num_correct / row.num_samples for row in rows) / len(rows)
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    assert f"| estimate | {pass_at_1:.3f} |" in card
    assert f"{record['N']:,} parameters" in card
    assert f"{record['D']:,} tokens" in card
