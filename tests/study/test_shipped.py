"""The files that come with the package say the truth about each other."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import pytest

from t2engine.laws.law_file import read_shipped_law_file
from t2engine.laws.observations import read_observations, read_shipped_observations
from t2engine.laws.passk import estimate_pass_at_k
from t2engine.laws.splits import counts_ladder
from t2engine.model.llama import count_parameters
from t2engine.schema import Observation
from t2engine.study import evaluate
from t2engine.study.checkpoint import load_model
from t2engine.study.evaluation.ask import Inquiry, Memory, ask_all
from t2engine.study.evaluation.checkpoints import try_run
from t2engine.study.evaluation.rule import StoppingRule
from t2engine.study.evaluation.source import EngineSource
from t2engine.study.ladder import build_ladder
from t2engine.study.presets import LAPTOP
from t2engine.study.runs import RECORD, is_finished
from t2engine.study.tasks.registry import task_named
from t2engine.study.training import gold_losses

DATA = Path(evaluate.__file__).parent / "data"
MODEL = DATA / "arithmetic"
LARGEST_MODEL = 3_000_000  # bytes
RULE = StoppingRule(first=LAPTOP.least_samples, most=LAPTOP.most_samples)
FILES = {"arithmetic": "observations.csv", "spatial": "spatial.csv"}
LADDER = build_ladder(LAPTOP.pairs, LAPTOP.tasks, LAPTOP.recipe)

Rows = dict[tuple[str, int, int], list[Observation]]


def read(task: str) -> Rows:
    rows = defaultdict(list)
    for row in read_observations(DATA / FILES[task]):
        rows[row.model, row.N, row.D].append(row)
    return rows


@pytest.fixture(scope="module", params=FILES)
def observed(request: pytest.FixtureRequest) -> tuple[str, Rows]:
    return request.param, read(request.param)


@pytest.fixture(scope="module")
def record() -> dict:
    return json.loads((MODEL / RECORD).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def verdict() -> dict:
    return json.loads((DATA / "verdict.json").read_text(encoding="utf-8"))


def own_rows(rows: Rows, record: dict) -> list[Observation]:
    return rows[record["run"]["name"], record["N"], record["D"]]


def test_model_is_small_and_one_of_the_ladder(record: dict):
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= LARGEST_MODEL
    run = next(run for run in LADDER if run.name == record["run"]["name"])
    assert is_finished(run, MODEL)
    assert count_parameters(load_model(MODEL)) == record["N"] == run.N


def test_every_run_of_the_ladder_was_asked_the_same_held_out_questions(observed):
    task, found = observed
    runs = {(run.name, run.N): run.D for run in LADDER}
    assert {(name, N) for name, N, _ in found} == set(runs)
    questions = task_named(task).held_out_questions(LAPTOP.num_questions, LAPTOP.recipe.seed)
    for (name, N, D), rows in found.items():
        assert runs[name, N] <= D < 1.01 * runs[name, N]
        assert [row.question for row in rows] == [question.prompt for question in questions]
        for row in rows:
            assert RULE.next_samples(row.num_samples, row.num_correct) is None


def test_default_observations_and_law_are_those_of_arithmetic():
    rows = list(read_shipped_observations())
    assert rows == list(read_observations(DATA / FILES["arithmetic"]))
    law = read_shipped_law_file().law
    ladder = counts_ladder(read_shipped_observations())
    assert law.fit.num_checkpoints == len(LADDER) == ladder.curves.N.size
    assert law.fit.N_range == (ladder.curves.N.min(), ladder.curves.N.max())
    assert law.fit.D_range == (ladder.curves.D.min(), ladder.curves.D.max())


def test_gold_losses_are_those_of_the_model(observed, record: dict):
    task, found = observed
    questions = task_named(task).held_out_questions(LAPTOP.num_questions, LAPTOP.recipe.seed)
    losses = gold_losses(load_model(MODEL), questions)
    assert [row.gold_nll for row in own_rows(found, record)] == pytest.approx(losses, abs=1e-3)


def test_counts_are_what_the_engine_draws_today(observed, record: dict):
    task, found = observed
    rows = own_rows(found, record)[:24]
    seed = LAPTOP.recipe.seed
    questions = task_named(task).held_out_questions(len(rows), seed)
    inquiry = Inquiry(task_named(task), questions, RULE, seed)
    checkpoint = try_run(MODEL)
    entries, _ = ask_all(inquiry, lambda: EngineSource(checkpoint), Memory())
    # a processor that rounds otherwise may flip a draw, which may double a question's samples
    same = sum(
        (row.num_samples, row.num_correct) == (new.num_samples, new.num_correct)
        for row, new in zip(rows, entries, strict=True)
    )
    assert same >= len(rows) - 4


def test_success_spreads_and_climbs_with_k(record: dict):
    rows = own_rows(read("arithmetic"), record)
    shares = [row.num_correct / row.num_samples for row in rows]
    assert 0.1 < sum(shares) / len(shares) < 0.5
    assert sum(0.02 < share < 0.98 for share in shares) > len(shares) / 2
    assert sum(row.num_correct > 0 for row in rows) / len(rows) > 0.8


def test_card_gives_the_measured_pass_at_k(record: dict):
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    for task in FILES:
        rows = own_rows(read(task), record)
        counts = [[row.num_samples for row in rows], [row.num_correct for row in rows]]
        estimates = [
            estimate_pass_at_k(*counts, k, method="beta", num_resamples=2).mean
            for k in (1, 4, 16, 64)
        ]
        cells = " | ".join(f"{value:.3f}" for value in estimates)
        assert f"| {task} | {cells} |" in card
    assert f"{record['N']:,} parameters" in card
    assert f"{record['D']:,} tokens" in card


def test_the_verdict_is_of_this_ladder(verdict: dict):
    assert verdict["format"] == "t2engine.verdict"
    assert verdict["preset"] == json.loads(json.dumps(asdict(LAPTOP)))
    assert {row["model"] for row in verdict["ladder"]} == {run.name for run in LADDER}
    assert {row["plan"] for row in verdict["outcomes"]} == {"t2", "compute-optimal", "twenty"}
    for row in verdict["outcomes"]:
        assert row["flops"] == pytest.approx(LAPTOP.budget)
        assert row["seed"] in LAPTOP.plan_seeds


def test_readme_shows_the_verdict(verdict: dict):
    text = (DATA / "README.md").read_text(encoding="utf-8")
    for row in verdict["differences"]:
        if row["seed"] is None:
            assert f"{row['mean']:+.3f}" in text
            assert f"{row['low']:+.3f} to {row['high']:+.3f}" in text
    for row in verdict["outcomes"]:
        assert f"{row['pass_at_k']:.3f}" in text
