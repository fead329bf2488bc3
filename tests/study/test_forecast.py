"""From planted laws and metered costs to the plans that would be trained."""

from __future__ import annotations

import numpy as np
import pytest

from t2engine.costs.formula import Demand
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.counts import CountsLaw
from t2engine.laws.mean_law import MeanLaw
from t2engine.metering import decode_flops, parameter_count, prefill_flops, training_flops
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget
from t2engine.study.forecast import on_a_rung
from t2engine.study.ladder import shape
from t2engine.study.ladder_cost import LadderCost, ladder_cost, rungs_near

SIZES = [7_760.0, 34_528.0, 77_136.0, 188_992.0, 266_960.0]
DEMAND = Demand(30_000.0, 11.0, 9.0)
RECORDS = [
    {"N": N, "D": 1e6, "flops": training_flops(shape(N), 1000, 20) * 50 * 1.1} for N in SIZES
]
FAST = CountsLaw(ChinchillaLaw(0.0, 2e3, 0.7, 3e5, 0.85), 4.0, 0.98, 1.2, -0.4, 1.3)
SLOW = CountsLaw(ChinchillaLaw(0.0, 4e3, 0.7, 9e5, 0.85), 3.0, 0.98, 0.8, -0.4, 1.3)
LOSS = ChinchillaLaw(0.0, 4e5, 1.19, 3.3e7, 1.17)


@pytest.fixture(scope="module")
def cost() -> LadderCost:
    return ladder_cost(RECORDS, DEMAND, SIZES)


def test_costs_at_the_rungs_are_the_meters(cost: LadderCost):
    for record in RECORDS:
        N, D = record["N"], record["D"]
        config = shape(N)
        assert cost.train(N, D) == pytest.approx(record["flops"])
        prompt = prefill_flops(config, 9)
        sample = 11 * decode_flops(config, round(9 + 5.5))
        assert cost.serve(N, 7.0, DEMAND) == pytest.approx(30_000 * (prompt + 7 * sample))


def test_costs_are_spent_as_they_are_counted(cost: LadderCost):
    for N in (8_000.0, 50_000.0, 2e5):
        assert cost.train(N, cost.tokens_for(N, 1e12)) == pytest.approx(1e12)
        k = cost.samples_for(N, 1e12, DEMAND)
        assert cost.serve(N, k, DEMAND) == pytest.approx(1e12)


def test_rungs_are_the_ladders_and_a_factor_of_two_beyond():
    rungs = rungs_near(SIZES)
    assert all(parameter_count(shape(N)) == N for N in rungs)
    assert set(SIZES) <= set(rungs)
    assert SIZES[0] / 2 <= min(rungs)
    assert max(rungs) <= 2 * SIZES[-1]


def test_a_mean_of_laws_is_the_mean_of_their_predictions():
    law = MeanLaw((FAST, SLOW), LOSS)
    N, D, k = np.array([1e4, 1e5]), np.array([1e6, 5e6]), np.array([4.0, 64.0])
    want = (FAST.pass_at_k(N, D, k) + SLOW.pass_at_k(N, D, k)) / 2
    assert law.pass_at_k(N, D, k) == pytest.approx(want)
    assert 1 - np.exp(-law.merit(N, D, k)) == pytest.approx(want)
    assert law.merit(1e5, 1e9, 1e6) > law.merit(1e5, 1e9, 1e5)
    with pytest.raises(ValueError, match="at least 1, got none"):
        MeanLaw((), LOSS)


def test_the_compute_optimal_plan_keeps_what_it_trains_for(cost: LadderCost):
    law = MeanLaw((FAST, SLOW), LOSS)
    budget = 4e12
    report = plan_budget(law, Budget(total=budget), DEMAND, cost)
    tried = on_a_rung(report, law, cost, budget, DEMAND, rungs_near(SIZES))
    assert tried.N in rungs_near(SIZES)
    assert cost.train(tried.N, tried.D) == pytest.approx(report.compute_optimal.train_cost)
    spent = cost.train(tried.N, tried.D) + cost.serve(tried.N, tried.k, DEMAND)
    assert spent == pytest.approx(budget)
    # and it is less overtrained than the plan that will be sampled
    assert report.t2.D / report.t2.N > tried.D / tried.N
