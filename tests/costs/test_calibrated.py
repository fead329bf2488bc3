from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine.costs.calibrated import CalibratedCost, Training
from t2engine.costs.energy_fit import EnergyFit
from t2engine.costs.formula import Demand
from t2engine.costs.ladder import ladder
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import build_profile
from t2engine.costs.tariff import Tariff, joules_tariff, usd_tariff
from t2engine.laws.observations import read_shipped_observations
from t2engine.laws.selection import fit_law
from t2engine.laws.splits import counts_ladder
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget
from tests.costs.synthetic import synthetic_measurements

DEMAND = Demand(questions=1000, output_tokens=32, prompt_tokens=100)


@pytest.fixture(scope="module")
def costs() -> MachineCosts:
    return MachineCosts(build_profile(synthetic_measurements(seed=0, noise=0.03)), "float32")


@pytest.fixture(scope="module")
def cost(costs: MachineCosts) -> CalibratedCost:
    return CalibratedCost(costs, costs)


def test_one_question_is_one_call(costs: MachineCosts) -> None:
    """All samples side by side: LLM.generate of one prompt, and what the host does beside it."""
    cost = CalibratedCost(costs, costs)
    for N, config in ladder(costs.vocab_size)[4:9]:
        one = Demand(questions=1, output_tokens=32, prompt_tokens=100)
        call = costs.call(config, 10, 100, 32).seconds + 10 * costs.sample_seconds
        assert float(cost.serve(N, 10, one)) == pytest.approx(call, rel=0.05)


def test_many_questions_keep_the_rows_full(cost: CalibratedCost, costs: MachineCosts) -> None:
    """With k = 4 and 256 rows, 64 prompts are decoded at once."""
    N, config = ladder(costs.vocab_size)[8]
    step = costs.decode_step(config, 256, 100, 16.5, num_prompts=64).seconds
    prefill = costs.prefill(config, 100).seconds
    by_hand = 1000 * prefill + 4000 * 31 / 256 * step + 4000 * costs.sample_seconds
    assert float(cost.serve(N, 4, DEMAND)) == pytest.approx(by_hand, rel=0.05)


def test_prices_rise_with_everything(cost: CalibratedCost) -> None:
    N, k = np.geomspace(2e5, 1e9, 30), np.geomspace(1, 1e5, 40)
    prices = cost.serve(N[:, None], k, DEMAND)
    assert np.all(np.diff(prices, axis=0) > 0)
    assert np.all(np.diff(prices, axis=1) > 0)
    assert np.all(np.diff(cost.train(N, 1e9)) > 0)


def test_budgets_are_spent(cost: CalibratedCost) -> None:
    N, k = np.array([3e5, 3e6, 3e7]), np.array([1.0, 7.3, 5e4])
    budget = cost.serve(N[:, None], k, DEMAND)
    assert cost.samples_for(N[:, None], budget, DEMAND) == pytest.approx(np.tile(k, (3, 1)))
    assert cost.train(N, cost.tokens_for(N, 100.0)) == pytest.approx(100.0)


def test_a_budget_below_one_sample_buys_less_than_one(cost: CalibratedCost) -> None:
    one = float(cost.serve(1e6, 1, DEMAND))
    assert float(cost.samples_for(1e6, one, DEMAND)) == pytest.approx(1)
    assert float(cost.samples_for(1e6, one / 2, DEMAND)) == pytest.approx(0.5)
    assert float(cost.samples_for(1e6, 0.0, DEMAND)) == 0


def test_a_sample_costs_less_in_company(cost: CalibratedCost) -> None:
    """Weights are read once for all rows: 64 samples are far from 64 times one."""
    one = Demand(questions=1, output_tokens=32, prompt_tokens=100)
    assert float(cost.serve(1e7, 64, one)) < 40 * float(cost.serve(1e7, 1, one))


def test_money_is_seconds_at_a_price(costs: MachineCosts, cost: CalibratedCost) -> None:
    priced = CalibratedCost(costs, costs, usd_tariff(3.6), usd_tariff(7.2))
    assert (cost.unit, priced.unit) == ("seconds", "usd")
    ratio = priced.serve(1e6, 8, DEMAND) / cost.serve(1e6, 8, DEMAND)
    assert float(ratio) == pytest.approx(1e-3)
    assert float(priced.train(1e6, 1e8) / cost.train(1e6, 1e8)) == pytest.approx(2e-3)


def test_training_is_by_the_step_that_was_stated(costs: MachineCosts) -> None:
    N, config = ladder(costs.vocab_size)[4]
    cost = CalibratedCost(costs, costs, recipe=Training(batch_size=8, sequence_len=64))
    step = costs.training_step(config, 8, 64).seconds
    assert float(cost.train(N, 1e6)) == pytest.approx(1e6 / 512 * step, rel=0.05)


def test_the_planner_takes_it(cost: CalibratedCost) -> None:
    law = fit_law(counts_ladder(read_shipped_observations()), "approach2").law
    report = plan_budget(law, Budget(total=7200.0), Demand(1e5, 16, 20), cost)
    spent = report.t2.train_cost + report.t2.inference_cost
    assert spent == pytest.approx(7200.0, rel=1e-6)
    assert report.t2.pass_at_k >= report.compute_optimal.pass_at_k - 1e-9


def test_joules_are_what_the_counter_said(costs: MachineCosts) -> None:
    """A planted fit: 10 W, and nothing for FLOPs and bytes, prices ten joules a second."""
    profile = costs.profile
    plain = CalibratedCost(costs, costs)
    tariff = joules_tariff(replace(profile, energy=EnergyFit(10.0, 0.0, 0.0, 0.0, 0.0, 4)))
    joules = CalibratedCost(costs, costs, tariff, tariff)
    assert joules.unit == "joules"
    assert joules.serve(1e6, 8, DEMAND) == pytest.approx(10 * plain.serve(1e6, 8, DEMAND))
    estimate = costs.decode_step(1e6, 8, 100, 5)
    assert Tariff("joules", 0.0, 2.0, 3.0).of(estimate) == pytest.approx(
        2 * estimate.flops + 3 * estimate.bytes
    )


def test_joules_that_nobody_counted_are_refused(costs: MachineCosts) -> None:
    with pytest.raises(ValueError, match=r"joules of .* are not known"):
        joules_tariff(costs.profile)


def test_impossible_prices_are_refused(costs: MachineCosts) -> None:
    for price in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="usd_per_hour must be above 0"):
            usd_tariff(price)
    with pytest.raises(ValueError, match="max_num_seqs must be at least 1, got 0"):
        CalibratedCost(costs, costs, max_num_seqs=0)
    with pytest.raises(ValueError, match="in one unit, got usd and seconds"):
        CalibratedCost(costs, costs, usd_tariff(1.0))
