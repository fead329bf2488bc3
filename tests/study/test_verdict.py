"""Two plans at the same measured cost, on numbers whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine.laws.passk import unbiased_pass_at_k
from t2engine.study.verdict import Spent, Trial, compare, difference, outcome, task_means

TASKS = ("arithmetic",) * 300 + ("spatial",) * 200
BUDGET, QUESTIONS = 1_000_000.0, 100.0


def trial(plan: str, p: float, seed: int = 1, sample: float = 50.0, train: float = 4e5) -> Trial:
    """Every question is answered right with probability p, of 200 samples."""
    rng = np.random.default_rng(seed + (plan == "t2"))
    return Trial(
        plan=plan,
        seed=seed,
        N=1000,
        D=10_000,
        flops=Spent(train, 200.0, sample),
        seconds=Spent(3.0, 0.01, 0.001),
        task=TASKS,
        num_samples=np.full(500, 200),
        num_correct=rng.binomial(200, p, size=500),
    )


def test_the_budget_is_spent_to_the_last_flop():
    spent = Spent(4e5, 200.0, 50.0)
    k = spent.samples_for(BUDGET, QUESTIONS)
    assert k == pytest.approx((6e5 / 100 - 200) / 50)
    assert spent.total(QUESTIONS, k) == pytest.approx(BUDGET)
    with pytest.raises(ValueError, match="must leave one sample for each of 100 questions"):
        spent.samples_for(4.2e5, QUESTIONS)


def test_a_real_k_lies_between_its_neighbours():
    one = trial("t2", 0.02)
    low, high = (unbiased_pass_at_k(one.num_samples, one.num_correct, k) for k in (7, 8))
    assert one.pass_at(7.25) == pytest.approx(0.75 * low + 0.25 * high)
    assert np.array_equal(one.pass_at(7.0), low)
    with pytest.raises(ValueError, match="needs num_samples >= 201"):
        one.pass_at(200.5)


def test_equal_cost_gives_the_cheaper_model_more_samples():
    """p = 1 % for 40 FLOPs a sample against 2 % for 100: closed form of both sides."""
    cheap = trial("t2", 0.01, sample=40.0)
    dear = trial("compute-optimal", 0.02, sample=100.0)
    k = [x.flops.samples_for(BUDGET, QUESTIONS) for x in (cheap, dear)]
    want = (1 - 0.99 ** k[0]) - (1 - 0.98 ** k[1])
    [found] = compare([cheap], [dear], BUDGET, QUESTIONS)
    assert found.low < want < found.high
    assert found.mean == pytest.approx(want, abs=0.03)
    assert found.words == "the T² plan is better"
    [other] = compare([dear], [cheap], BUDGET, QUESTIONS)
    assert other.mean == pytest.approx(-found.mean)
    assert other.words == "the T² plan is worse: the claim fails here"


def test_like_plans_cannot_be_told_apart_and_seeds_have_a_mean():
    ours = [trial("t2", 0.02, seed) for seed in (1, 5)]
    theirs = [trial("compute-optimal", 0.02, seed) for seed in (1, 5)]
    found = compare(ours, theirs, BUDGET, QUESTIONS)
    assert [x.seed for x in found] == [1, 5, None]
    assert found[2].mean == pytest.approx((found[0].mean + found[1].mean) / 2)
    assert found[2].high - found[2].low < found[0].high - found[0].low
    assert found[2].words == "no difference can be told"
    with pytest.raises(ValueError, match="same questions"):
        compare([ours[0]], [replace(theirs[0], task=TASKS[::-1])], BUDGET, QUESTIONS)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    tasks = np.array(TASKS)
    held = 0
    for _ in range(60):
        values = rng.normal(0.1, 1.0, size=500)
        found = difference("twenty", None, values, tasks)
        held += found.low <= 0.1 <= found.high
    assert 52 <= held <= 60


def test_tasks_count_alike_however_many_questions_they_have():
    values = np.where(np.array(TASKS) == "spatial", 1.0, 0.0)
    assert task_means(values, TASKS) == {"arithmetic": 0.0, "spatial": 1.0}
    assert difference("twenty", None, values, np.array(TASKS)).mean == 0.5


def test_an_outcome_holds_the_forecast_against_the_measurement():
    one = trial("t2", 0.02)
    found = outcome(one, BUDGET, QUESTIONS, 0.9, (0.85, 0.95))
    assert found.flops == pytest.approx(BUDGET)
    assert found.seconds == pytest.approx(3.0 + 100 * (0.01 + found.k * 0.001))
    assert found.error == pytest.approx(0.9 - found.pass_at_k)
    assert found.held == (0.85 <= found.pass_at_k <= 0.95)
    assert found.pass_at_k == pytest.approx(np.mean(list(found.by_task.values())))
