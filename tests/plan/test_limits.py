"""Limits shape the search: what is found is the best of what they allow, and each that binds is
said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.formula import Demand, FormulaCost
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import build_profile
from t2engine.laws.approach2 import Approach2Law
from t2engine.plan.dual import plan_target
from t2engine.plan.limits import Limits
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget
from tests.costs.synthetic import synthetic_measurements
from tests.plan.test_search import random_approach2

COST = FormulaCost()


@pytest.fixture(scope="module")
def measured() -> CalibratedCost:
    costs = MachineCosts(build_profile(synthetic_measurements(seed=0, noise=0.0)))
    return CalibratedCost(costs, costs)


def limited_problem(seed: int) -> tuple[Approach2Law, Budget, Demand, Limits]:
    """Limits near the plan that there is without them, so that most of them bind."""
    law, budget, demand = random_approach2(seed)
    free = plan_budget(law, budget, demand).t2
    rng = np.random.default_rng(seed)
    chosen = rng.random(4) < 0.6
    limits = Limits(
        max_tokens=free.D * rng.uniform(0.2, 1.5) if chosen[0] else None,
        max_k=max(1.0, free.k * rng.uniform(0.2, 1.5)) if chosen[1] else None,
        min_size=free.N * rng.uniform(0.5, 1.2) if chosen[2] else None,
        max_size=free.N * rng.uniform(1.5, 2.0) if chosen[2] else None,
        allowed_sizes=tuple(free.N * np.geomspace(0.3, 4, 12)) if chosen[3] else (),
    )
    return law, budget, demand, limits


@pytest.mark.parametrize("seed", range(30))
def test_no_allowed_point_of_a_grid_is_better(seed: int) -> None:
    law, budget, demand, limits = limited_problem(seed)
    best = plan_budget(law, budget, demand, limits=limits).t2
    low, high = limits.size_range
    assert low * (1 - 1e-9) <= best.N <= high * (1 + 1e-9)
    assert limits.most_tokens * (1 + 1e-9) >= best.D
    assert best.k <= (limits.max_k or np.inf) * (1 + 1e-9)
    assert not limits.allowed or np.min(np.abs(best.N / np.array(limits.allowed) - 1)) < 1e-9
    sizes = limits.allowed or np.geomspace(max(low, best.N / 30), min(high, best.N * 30), 200)
    N = np.array(sizes)[:, None]
    k = best.k * np.geomspace(1 / 30, 30, 400)
    if budget.is_split:
        D, k = COST.tokens_for(N, budget.train), COST.samples_for(N, budget.inference, demand)
    else:
        D = COST.tokens_for(N, budget.total - COST.serve(N, k, demand))
    D, k = np.minimum(D, limits.most_tokens), np.minimum(k, limits.max_k or np.inf)
    fits = (D >= 1) & (k >= 1)
    grid = np.where(fits, law.merit(N, np.maximum(D, 1), np.maximum(k, 1)), -np.inf)
    assert float(law.merit(best.N, best.D, best.k)) >= grid.max() * (1 - 1e-9)


def test_limits_that_do_not_bind_change_nothing() -> None:
    law, budget, demand = random_approach2(2)
    free = plan_budget(law, budget, demand)
    wide = Limits(max_tokens=free.t2.D * 10, max_k=free.t2.k * 10, max_size=free.t2.N * 1e9)
    same = plan_budget(law, budget, demand, limits=wide)
    assert pytest.approx(free.t2.N, rel=1e-6) == same.t2.N
    assert same.t2.k == pytest.approx(free.t2.k, rel=1e-6)
    assert not [words for words in same.t2.warnings if "limit" in words or "wall" in words]
    assert not same.ties


def test_what_one_limit_leaves_is_spent_on_the_other() -> None:
    law, budget, demand = random_approach2(2)
    free = plan_budget(law, budget, demand).t2
    for limits in (Limits(max_k=free.k / 3), Limits(max_tokens=free.D / 3)):
        best = plan_budget(law, budget, demand, limits=limits).t2
        assert best.total_cost == pytest.approx(budget.total, rel=1e-9)
        merits = (float(law.merit(x.N, x.D, x.k)) for x in (best, free))
        assert next(merits) < next(merits)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_tokens": 0.3}, "the data wall holds D at"),
        ({"unique_tokens": 0.1, "max_epochs": 3.0}, "tokens, 3 epochs"),
        ({"unique_tokens": 0.1, "max_epochs": 3.0}, "tokens are repeated"),
        ({"max_k": 0.3}, "the limit on samples holds k at"),
        ({"max_size": 0.3}, "the limit on size holds N at no more than"),
        ({"min_size": 3.0}, "the limit on size holds N at no less than"),
        ({"allowed_sizes": (0.5, 2.0)}, "N is one of 2 sizes that are allowed"),
    ],
)
def test_a_limit_that_binds_is_said(options: dict[str, Any], words: str) -> None:
    """Limits as shares of the plan without them."""
    law, budget, demand = random_approach2(2)
    free = plan_budget(law, budget, demand).t2
    of = {"max_k": free.k, "max_size": free.N, "min_size": free.N, "allowed_sizes": free.N}
    given = {
        name: tuple(free.N * x for x in value)
        if isinstance(value, tuple)
        else value * (1 if name == "max_epochs" else of.get(name, free.D))
        for name, value in options.items()
    }
    report = plan_budget(law, budget, demand, limits=Limits(**given))
    assert [sentence for sentence in report.t2.warnings if words in sentence]
    assert any("the limits do not hold for the compute-optimal" in x for x in report.warnings)


def test_both_limits_leave_budget_and_it_is_said() -> None:
    law, budget, demand = random_approach2(2)
    free = plan_budget(law, budget, demand).t2
    tight = Limits(max_tokens=free.D / 10, max_k=max(free.k / 10, 1), max_size=free.N)
    best = plan_budget(law, budget, demand, limits=tight).t2
    assert best.total_cost < 0.5 * budget.total  # type: ignore[operator]
    assert [words for words in best.warnings if "of the budget stays unspent" in words]


def test_latency_is_of_a_question_alone(measured: CalibratedCost) -> None:
    law, demand = random_approach2(0)[0], Demand(1e5, 16, 20)
    budget = Budget(total=3600.0)
    free = plan_budget(law, budget, demand, measured).t2
    alone = Demand(1, 16, 20)
    seconds = 0.3 * float(measured.serve(free.N, free.k, alone))
    limits = Limits(max_latency_seconds=seconds)
    best = plan_budget(law, budget, demand, measured, limits).t2
    assert float(measured.serve(best.N, best.k, alone)) <= seconds * (1 + 1e-6)
    assert [words for words in best.warnings if "for a question holds k" in words]


def test_memory_holds_weights_and_the_keys_of_all_at_once(measured: CalibratedCost) -> None:
    law, demand = random_approach2(0)[0], Demand(1e5, 16, 20)
    budget = Budget(total=36000.0)
    free = plan_budget(law, budget, demand, measured).t2
    needed = float(measured.memory_bytes(free.N, free.k, demand))
    assert needed > 4 * free.N  # float32 weights are a part of it
    best = plan_budget(law, budget, demand, measured, Limits(max_memory_bytes=needed / 3)).t2
    assert best.N < free.N
    assert float(measured.memory_bytes(best.N, best.k, demand)) <= needed / 3


def test_a_target_is_reached_within_limits_or_refused_with_the_best() -> None:
    law, budget, demand = random_approach2(2)
    best = plan_budget(law, budget, demand).t2
    target = 0.5 * best.pass_at_k
    limits = Limits(max_tokens=best.D, max_k=max(best.k / 2, 1))
    free, held = plan_target(law, target, demand), plan_target(law, target, demand, limits=limits)
    assert held.t2.total_cost >= free.t2.total_cost * (1 - 1e-9)
    assert held.t2.pass_at_k >= target * (1 - 1e-9)
    with pytest.raises(ValueError, match="its best is"):
        plan_target(law, 0.999999, demand, limits=Limits(max_k=1, max_tokens=1e4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0.0}, "max_tokens must be above 0 and finite, got 0"),
        ({"allowed_sizes": (1e6, -1.0)}, "allowed_sizes must be above 0 and finite, got -1"),
        ({"max_epochs": 4.0}, "max_epochs needs unique_tokens"),
        ({"unique_tokens": 1e9, "max_epochs": 0.5}, "max_epochs must be at least 1, got 0.5"),
        ({"max_k": 0.5}, "max_k must be at least 1, got 0.5"),
        ({"min_size": 2e6, "max_size": 1e6}, "min_size must be at most max_size"),
        ({"allowed_sizes": (1e5,), "min_size": 1e6}, "none of allowed_sizes lies within"),
    ],
)
def test_impossible_limits_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits(**options)


@pytest.mark.parametrize("name", ["max_latency_seconds", "max_memory_bytes"])
def test_formulas_know_no_seconds_and_no_memory(name: str) -> None:
    law, budget, demand = random_approach2(0)
    with pytest.raises(ValueError, match="needs the costs of a machine, got formula costs"):
        plan_budget(law, budget, demand, limits=Limits(**{name: 1.0}))


def test_sizes_that_no_budget_buys_are_refused() -> None:
    law, _, demand = random_approach2(0)
    with pytest.raises(ValueError, match=r"no model of 1e\+12 to 1e\+12 parameters .* limits"):
        plan_budget(law, Budget(total=1e13), demand, limits=Limits(allowed_sizes=(1e12,)))
