from __future__ import annotations

import pytest

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.formula import CostModel, Demand, FormulaCost
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import build_profile
from t2engine.costs.scaled import ScaledCost, scaled_cost
from tests.costs.synthetic import synthetic_measurements

DEMAND = Demand(1e4, 16, 30)


@pytest.fixture(scope="module")
def measured() -> CalibratedCost:
    machine = MachineCosts(build_profile(synthetic_measurements(seed=0, noise=0.03)))
    return CalibratedCost(machine, machine)


def check(cost: CostModel, scaled: CostModel) -> None:
    N, D, k = 3e5, 2e7, 40.0
    assert float(scaled.train(N, D)) == pytest.approx(1.25 * float(cost.train(N, D)))
    assert float(scaled.serve(N, k, DEMAND)) == pytest.approx(2 * float(cost.serve(N, k, DEMAND)))
    assert float(scaled.tokens_for(N, scaled.train(N, D))) == pytest.approx(D)
    assert float(scaled.samples_for(N, scaled.serve(N, k, DEMAND), DEMAND)) == pytest.approx(k)
    assert (scaled.unit, scaled.measured) == (cost.unit, cost.measured)


def test_formula_costs_stay_formula_costs() -> None:
    scaled = scaled_cost(FormulaCost(), training=1.25, serving=2.0)
    assert scaled == FormulaCost(7.5, 4.0)
    check(FormulaCost(), scaled)
    check(FormulaCost(), ScaledCost(FormulaCost(), 1.25, 2.0))
    assert ScaledCost(FormulaCost()).spread(1e6, 1e7, 3, DEMAND) is None


def test_prices_of_a_machine_scale_and_its_seconds_do_not(measured: CalibratedCost) -> None:
    scaled = scaled_cost(measured, training=1.25, serving=2.0)
    check(measured, scaled)
    seconds = [float(x.samples_within(3e5, 2.0, DEMAND)) for x in (measured, scaled)]
    assert seconds[0] == seconds[1]
    memory = [float(x.memory_bytes(3e5, 40, DEMAND)) for x in (measured, scaled)]
    assert memory[0] == memory[1]
    before, after = (x.spread(3e5, 2e7, 40, DEMAND) for x in (measured, scaled))
    assert before is not None
    assert after is not None
    assert after.train == pytest.approx([1.25 * x for x in before.train])
    assert after.serve == pytest.approx([2 * x for x in before.serve])
    assert "training x1.25, serving x2" in scaled.description
