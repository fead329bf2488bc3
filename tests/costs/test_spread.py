"""Intervals of measured prices are the machine's own, and leaving the measurements is said."""

from __future__ import annotations

import pytest

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.formula import Demand, FormulaCost
from t2engine.costs.ladder import ladder
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import build_profile
from t2engine.costs.spread import nearest_shapes
from t2engine.costs.tariff import usd_tariff
from tests.costs.synthetic import synthetic_measurements

ONE = Demand(questions=1, output_tokens=32, prompt_tokens=100)


@pytest.fixture(scope="module")
def costs() -> MachineCosts:
    return MachineCosts(build_profile(synthetic_measurements(seed=0, noise=0.03)))


def test_one_question_has_the_interval_of_its_call(costs: MachineCosts) -> None:
    cost = CalibratedCost(costs, costs)
    config = ladder(costs.vocab_size)[6][1]
    call = costs.call(config, 10, 100, 32)
    spread = cost.spread(ladder(costs.vocab_size)[6][0], 1e8, 10, ONE)
    price = float(cost.serve(ladder(costs.vocab_size)[6][0], 10, ONE))
    assert spread.serve[0] / price == pytest.approx(call.low / call.seconds, rel=0.05)
    assert spread.serve[1] / price == pytest.approx(call.high / call.seconds, rel=0.05)


def test_training_has_the_interval_of_its_steps(costs: MachineCosts) -> None:
    cost = CalibratedCost(costs, costs)
    N, config = ladder(costs.vocab_size)[6]
    step = costs.training_step(config, 32, 128)
    price = float(cost.train(N, 1e8))
    low, high = cost.spread(N, 1e8, 10, ONE).train
    assert low <= price * step.low / step.seconds * (1 + 1e-9)
    assert high >= price * step.high / step.seconds * (1 - 1e-9)
    assert low < price < high


def test_money_has_the_intervals_of_its_seconds(costs: MachineCosts) -> None:
    seconds = CalibratedCost(costs, costs).spread(1e6, 1e8, 8, ONE)
    usd = CalibratedCost(costs, costs, usd_tariff(3.6), usd_tariff(7.2)).spread(1e6, 1e8, 8, ONE)
    assert usd.serve == pytest.approx([1e-3 * end for end in seconds.serve])
    assert usd.train == pytest.approx([2e-3 * end for end in seconds.train])


def test_beyond_the_measurements_intervals_widen_and_it_is_said(costs: MachineCosts) -> None:
    cost = CalibratedCost(costs, costs)
    inside, outside = (cost.spread(N, 1e8, 8, ONE) for N in (2e6, 2e9))
    assert not [note for note in inside.notes if "N = " in note]
    for near, far in ((inside.train, outside.train), (inside.serve, outside.serve)):
        assert far[1] / far[0] > near[1] / near[0]
    said = " ".join(outside.notes)
    assert "times above the largest model timed on" in said
    assert "the price of training extrapolates" in said
    assert "the price of serving extrapolates" in said


def test_what_memory_does_not_hold_is_said(costs: MachineCosts) -> None:
    long = Demand(questions=1e6, output_tokens=4096, prompt_tokens=1e5)
    assert "GiB at once" in CalibratedCost(costs, costs).spread(1e9, 1e8, 1, long).notes[-1]


def test_beyond_the_ladder_its_end_stands_for_n() -> None:
    rungs = ladder(512)
    assert nearest_shapes(1.0, 512) == (rungs[0][1], rungs[1][1])
    assert nearest_shapes(1e15, 512) == (rungs[-2][1], rungs[-1][1])


def test_formula_costs_have_no_interval() -> None:
    assert FormulaCost().spread(1e6, 1e8, 8, ONE) is None
