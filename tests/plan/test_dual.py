"""The least cost at a target: the inverse of the plan of a budget, and below it nothing reaches."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.formula import Demand, FormulaCost
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import build_profile
from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.approach2 import Approach2Law
from t2engine.laws.selection import fit_law
from t2engine.laws.splits import counts_ladder
from t2engine.plan.dual import MARGIN, STEP, bracket, crossing, plan_target
from t2engine.plan.optimizer import PlanReport, plan_budget
from t2engine.plan.problem import Budget, BudgetTooSmallError
from tests.costs.synthetic import synthetic_measurements
from tests.laws.ladder import observations
from tests.plan.test_closed_form import law_with, random_problem
from tests.plan.test_search import random_approach2

COST = FormulaCost()


@cache
def solved(seed: int) -> tuple[Approach1Law | Approach2Law, Demand, PlanReport, PlanReport]:
    """A problem, the plan of its budget, and the plan of that one's pass@k."""
    law, total, demand = one_budget_problem(seed)
    within = plan_budget(law, Budget(total=total), demand)
    return law, demand, within, plan_target(law, within.t2.pass_at_k, demand)


def one_budget_problem(seed: int) -> tuple[Approach1Law | Approach2Law, float, Demand]:
    """Two of three by Approach 1, whose plans have a closed form; one searched.

    The budget is one that buys something, and less than all there is.
    """
    law, budget, demand = (random_approach2 if seed % 3 == 0 else random_problem)(2 * seed)
    total = budget.total
    assert total is not None
    while (best := pass_within(law, total, demand)) is None or best > 0.999:
        total *= 100 if best is None else 0.1
    return law, total, demand


def pass_within(law: Approach1Law | Approach2Law, total: float, demand: Demand) -> float | None:
    try:
        return plan_budget(law, Budget(total=total), demand).t2.pass_at_k
    except BudgetTooSmallError:
        return None


@pytest.mark.parametrize("seed", range(60))
def test_the_dual_of_the_primal_is_its_budget(seed: int) -> None:
    _, _, within, found = solved(seed)
    assert found.target == within.t2.pass_at_k
    assert found.t2.pass_at_k >= within.t2.pass_at_k * (1 - 1e-9)
    assert found.budget.total == pytest.approx(within.budget.total, rel=1e-6)


@pytest.mark.parametrize("seed", range(60))
def test_no_cheaper_point_of_a_grid_reaches_the_target(seed: int) -> None:
    law, demand, _, found = solved(seed)
    at, target = found.t2, found.target
    near = np.geomspace(1 / 30, 30, 41)
    fine = np.geomspace(0.8, 1.25, 41)
    for steps in (near, fine):
        N, D = at.N * steps[:, None, None], at.D * steps[:, None]
        k = np.maximum(at.k * steps, 1.0)
        reaches = law.pass_at_k(N, D, k) >= target
        cost = COST.train(N, D) + COST.serve(N, k, demand)
        assert found.budget.total is not None
        assert np.min(cost[reaches & (N >= 1) & (D >= 1)]) >= found.budget.total * (1 - 1e-6)
    assert np.min(cost[reaches]) < 1.05 * found.budget.total  # the grid saw the optimum


@pytest.mark.parametrize("seed", range(1, 60, 3))
def test_the_last_flop_buys_as_much_of_everything(seed: int) -> None:
    """Approach 1: marginal gains over marginal costs are equal for D and k, and for N."""
    law, demand, _, found = solved(seed)
    assert isinstance(law, Approach1Law)
    at = found.t2
    drawn = 2 * demand.questions * demand.output_tokens * at.N * at.k
    of_tokens = law.beta * law.B * at.D**-law.beta / at.train_cost
    of_size = law.alpha * law.A * at.N**-law.alpha / (at.train_cost + at.inference_cost)
    assert of_size == pytest.approx(of_tokens, rel=1e-6)
    if at.k > 1:
        of_samples = law.gamma * law.G * at.k**-law.gamma / drawn
        assert of_samples == pytest.approx(of_tokens, rel=1e-6)


@pytest.mark.parametrize("name", ["approach1", "approach2"])
def test_it_inverts_fitted_laws_at_measured_costs_too(name: str) -> None:
    costs = MachineCosts(build_profile(synthetic_measurements(seed=0, noise=0.03)))
    law = fit_law(counts_ladder(observations(num_questions=60)), name).law
    measured, demand = CalibratedCost(costs, costs), Demand(1e5, 16, 20)
    best = plan_budget(law, Budget(total=600.0), demand, measured).t2
    found = plan_target(law, best.pass_at_k, demand, measured)
    assert found.budget.total == pytest.approx(600.0, rel=1e-6)
    assert found.unit == "seconds"


def test_a_higher_target_costs_more() -> None:
    law, _, demand = one_budget_problem(0)
    costs = [plan_target(law, p, demand).t2.total_cost for p in (0.05, 0.5, 0.95)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_what_no_budget_reaches_is_refused_with_the_best() -> None:
    """Approach 1 ends at exp(-E), here .1625."""
    law = law_with(1, 0.3)
    best = f"{math.exp(-law.E):.4g}"[:4]
    with pytest.raises(ValueError, match=f"no pass@k of 0.2: its best is {best}"):
        plan_target(law, 0.2)


def test_an_easy_target_takes_the_least_that_can_be_bought() -> None:
    easy = Approach1Law(E=0.1, A=1e-6, alpha=0.3, B=1e-6, beta=0.3, G=1e-6, gamma=0.3)
    found = plan_target(easy, 0.5)
    assert min(found.t2.N, found.t2.D, found.t2.k) >= 1
    assert found.t2.pass_at_k > 0.5
    assert found.budget.total is not None
    with pytest.raises(BudgetTooSmallError):
        plan_budget(easy, Budget(total=found.budget.total * (1 - 1e-8)))


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_impossible_targets_are_refused(target: float) -> None:
    with pytest.raises(ValueError, match="target must be a pass@k above 0 and below 1"):
        plan_target(law_with(1, 0.3), target)


@pytest.mark.parametrize("root", [-3.0, 0.001, 0.7, 2.9])
def test_crossings_are_found_past_what_buys_nothing(root: float) -> None:
    def short(x: float) -> float:
        return math.inf if x < root - 0.5 else root - x if x < root else (root - x) ** 3

    found = crossing(short, -4.0, 3.0)
    assert found >= root
    assert found == pytest.approx(root, abs=1e-8)


@pytest.mark.parametrize("step", [MARGIN, STEP])
@pytest.mark.parametrize("root", [-30.0, -0.4, -1e-4, 0.0, 1e-4, 0.4, 30.0])
def test_a_bracket_holds_the_crossing_however_far_it_is(root: float, step: float) -> None:
    law = law_with(G=1.0, gamma=0.5)
    low, high = bracket(lambda x: root - x, 0.0, step, law, 0.5, COST)
    assert low < root <= high
    assert high - low <= STEP * (1 + 1e-9)
    if abs(root) < MARGIN:
        assert high - low == pytest.approx(step)
