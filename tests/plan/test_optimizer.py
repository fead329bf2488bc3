"""The plan beside the compute-optimal one: baseline, saving, warnings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine.costs.formula import Demand, FormulaCost
from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.selection import fit_law
from t2engine.laws.splits import counts_ladder
from t2engine.plan.baseline import budget_ratio, compute_optimal
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget, Problem, demand_for
from tests.laws.ladder import observations
from tests.plan.test_closed_form import PUBLISHED, law_with, random_problem
from tests.plan.test_search import random_approach2

COST = FormulaCost()
SPLIT = Budget(train=2.56e19, inference=2e9)


@pytest.fixture(scope="module", params=["approach1", "approach2"])
def fitted(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    return fit_law(counts_ladder(observations(num_questions=60)), request.param).law


def test_baseline_lies_on_the_compute_optimal_path() -> None:
    law = law_with(1, 0.3)
    found = compute_optimal(Problem(law, COST, SPLIT, Demand()))
    gain_N = law.alpha * law.A * found.N**-law.alpha
    gain_D = law.beta * law.B * found.D**-law.beta
    assert gain_N == pytest.approx(gain_D, rel=1e-9)
    spent = (6 * found.N * found.D, 2 * found.N * found.k)
    assert spent == pytest.approx((2.56e19, 2e9), rel=1e-9)


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_baseline_with_one_budget_is_the_best_of_its_path(seed: int) -> None:
    law, budget, demand = random_problem(seed)
    problem = Problem(law, COST, budget, demand)
    found = compute_optimal(problem)
    spent = COST.train(found.N, found.D) + COST.serve(found.N, found.k, demand)
    assert float(spent) == pytest.approx(budget.total, rel=1e-9)
    N = np.geomspace(found.N / 1e5, found.N * 1e5, 20001)
    D = (law.beta * law.B / (law.alpha * law.A) * N**law.alpha) ** (1 / law.beta)
    k = COST.samples_for(N, budget.total - COST.train(N, D), demand)
    merit = np.where(k >= 1, law.merit(N, D, np.maximum(k, 1)), -np.inf)
    assert found.merit >= merit.max() - 1e-9 * abs(merit.max())


@pytest.mark.parametrize("seed", range(12))
def test_the_plan_is_at_least_as_good_and_the_ratio_makes_them_equal(seed: int) -> None:
    law, budget, demand = (random_approach2 if seed % 3 else random_problem)(seed)
    report = plan_budget(law, budget, demand)
    assert report.t2.pass_at_k >= report.compute_optimal.pass_at_k * (1 - 1e-9)
    if report.budget_ratio is None:
        assert report.saving is None
        return
    problem = Problem(law, COST, budget, demand)
    merit = float(law.merit(report.t2.N, report.t2.D, report.t2.k))
    assert report.saving == pytest.approx(1 - 1 / report.budget_ratio)
    reached = compute_optimal(problem.scaled(report.budget_ratio)).merit
    assert reached == pytest.approx(merit, rel=1e-6)


def test_saving_is_the_multiple_of_both_budgets() -> None:
    law = law_with(1, 0.3)
    report = plan_budget(law, SPLIT)
    assert report.budget_ratio is not None
    assert report.budget_ratio > 1
    more = plan_budget(law, SPLIT.scaled(report.budget_ratio))
    assert more.compute_optimal.pass_at_k == pytest.approx(report.t2.pass_at_k, rel=1e-7)


def test_a_gain_out_of_reach_has_no_saving() -> None:
    problem = Problem(law_with(1, 0.3), COST, SPLIT, Demand())
    assert budget_ratio(problem, merit=-PUBLISHED["E"] + 0.1) is None
    assert budget_ratio(problem, merit=-100.0) == 1.0


def test_costs_add_up_and_the_law_is_named(fitted) -> None:  # type: ignore[no-untyped-def]
    report = plan_budget(fitted, Budget(total=1e14), Demand(1e5, 16, 12))
    for plan in (report.t2, report.compute_optimal):
        assert plan.total_cost == pytest.approx(1e14, rel=1e-9)
        assert plan.train_cost == pytest.approx(6 * plan.N * plan.D, rel=1e-12)
        served = 1e5 * 2 * plan.N * (16 * plan.k + 12)
        assert plan.inference_cost == pytest.approx(served, rel=1e-9)
        assert plan.law == fitted.name
        assert plan.tokens_per_parameter == plan.D / plan.N
        want = float(fitted.pass_at_k(plan.N, plan.D, plan.k))
        assert plan.pass_at_k == pytest.approx(want, rel=1e-12)


def test_more_budget_is_never_worse(fitted) -> None:  # type: ignore[no-untyped-def]
    passes = [
        plan_budget(fitted, Budget(total=C), Demand(1e5, 16)).t2.pass_at_k
        for C in (1e12, 1e13, 1e14, 1e15)
    ]
    assert passes == sorted(passes)


def test_leaving_the_data_is_said_with_the_factor(fitted) -> None:  # type: ignore[no-untyped-def]
    report = plan_budget(fitted, Budget(total=1e17), Demand(1e5, 16))
    said = " ".join(report.t2.warnings)
    for name, bounds in (("D", fitted.fit.D_range), ("k", fitted.fit.k_range)):
        factor = getattr(report.t2, name) / bounds[1]
        assert factor > 1
        assert f"{factor:.3g} times above the largest" in said
    inside = plan_budget(fitted, Budget(total=2e13), Demand(1e5, 16))
    outside = [
        x
        for x in ("N", "D", "k")
        if not getattr(fitted.fit, f"{x}_range")[0]
        <= getattr(inside.t2, x)
        <= getattr(fitted.fit, f"{x}_range")[1]
    ]
    assert sum("extrapolates" in x for x in inside.t2.warnings) == len(outside)


def test_a_poor_fit_is_said() -> None:
    law = fit_law(counts_ladder(observations(num_questions=60)), "approach1").law
    assert isinstance(law, Approach1Law)
    assert law.fit is not None
    poor = replace(law, fit=replace(law.fit, converged=False, bounds_hit=("E", "beta")))
    warnings = plan_budget(poor, Budget(total=1e14), Demand(1e5, 16)).warnings
    assert "the fit of approach1 did not converge: treat the plan as a guess" in warnings
    assert "the fit of approach1 stopped at the bound of E, beta" in warnings


def test_clipped_plans_say_so() -> None:
    report = plan_budget(law_with(1e-3, 0.3), Budget(train=2.56e19, inference=2e8))
    assert report.t2.k == 1
    assert "k is held at 1" in report.t2.warnings[0]
    assert (report.compute_optimal.N, report.compute_optimal.k) == pytest.approx((1e8, 1))
    assert "N was lowered" in report.compute_optimal.warnings[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "got none"),
        ({"train": 1e9}, "got train"),
        ({"total": 1e9, "train": 1e9, "inference": 1.0}, "got total and train and inference"),
        ({"total": -1.0}, "total budget must be above 0 and finite, got -1"),
        ({"total": 0.0}, "got 0"),
        ({"total": float("nan")}, "got nan"),
        ({"train": 1e9, "inference": float("inf")}, "inference budget must be .* got inf"),
    ],
)
def test_impossible_budgets_are_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(**given)


def test_demand_defaults_follow_the_budget() -> None:
    assert demand_for(Budget(total=1e15)) == Demand(1e6, 16)
    assert demand_for(SPLIT) == Demand(1, 1)
    assert demand_for(SPLIT, None, 16, 4) == Demand(1, 16, 4)
    with pytest.raises(ValueError, match="questions must be left out with two budgets, got 5"):
        demand_for(SPLIT, 5)
    with pytest.raises(ValueError, match="questions must be 1, got 5"):
        Problem(law_with(1, 0.3), COST, SPLIT, Demand(questions=5))
