"""Data that repeat: D is paid for, and D_eff is what the law sees."""

from __future__ import annotations

import numpy as np
import pytest

from t2engine.costs.formula import Demand, FormulaCost
from t2engine.laws.repeated import effective_tokens
from t2engine.plan.dual import plan_target
from t2engine.plan.limits import MOST_EPOCHS, Limits
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget
from tests.plan.test_closed_form import law_with
from tests.plan.test_search import random_approach2

COST = FormulaCost()


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(6))
def test_no_point_of_a_grid_is_better(seed: int, share: float) -> None:
    law, budget, demand = random_approach2(seed)
    free = plan_budget(law, budget, demand).t2
    unique = share * free.D
    best = plan_budget(law, budget, demand, limits=Limits(unique_tokens=unique)).t2
    near = np.concatenate([np.geomspace(1 / 30, 30, 201), np.geomspace(0.9, 1.1, 50)])
    N, k = best.N * near[:, None], best.k * near
    if budget.is_split:
        D, k = COST.tokens_for(N, budget.train), COST.samples_for(N, budget.inference, demand)
    else:
        D = COST.tokens_for(N, budget.total - COST.serve(N, k, demand))
    D = np.minimum(D, MOST_EPOCHS * unique)
    fits = (D >= 1) & (k >= 1)
    worth = effective_tokens(np.maximum(D, 1), unique)
    merit = np.where(fits, law.merit(N, worth, np.maximum(k, 1)), -np.inf)
    chosen = float(law.merit(best.N, effective_tokens(best.D, unique), best.k))
    assert chosen >= merit.max() - 1e-9 * abs(merit.max())
    assert best.pass_at_k == pytest.approx(
        float(law.pass_at_k(best.N, best.effective_tokens, best.k)), rel=1e-12
    )
    assert best.pass_at_k <= free.pass_at_k * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_data_without_end_is_no_wall(seed: int) -> None:
    law, budget, demand = random_approach2(seed)
    free = plan_budget(law, budget, demand).t2
    ample = plan_budget(law, budget, demand, limits=Limits(unique_tokens=1e6 * free.D)).t2
    assert (ample.N, ample.D, ample.k) == pytest.approx((free.N, free.D, free.k), rel=1e-6)
    assert ample.effective_tokens == ample.D
    assert free.epochs is None
    assert not [words for words in ample.warnings if "repeated" in words or "wall" in words]


def test_one_epoch_is_a_wall_of_fresh_tokens() -> None:
    law, budget, demand = random_approach2(2)
    unique = 0.1 * plan_budget(law, budget, demand).t2.D
    once = Limits(unique_tokens=unique, max_epochs=1)
    fresh = plan_budget(law, budget, demand, limits=Limits(max_tokens=unique)).t2
    held = plan_budget(law, budget, demand, limits=once).t2
    assert (held.N, held.D, held.k) == pytest.approx((fresh.N, fresh.D, fresh.k), rel=1e-9)
    assert held.pass_at_k == fresh.pass_at_k


def test_the_plan_decides_how_often_and_stops_where_repeats_are_worth_nothing() -> None:
    law, budget, demand = random_approach2(2)
    free = plan_budget(law, budget, demand).t2
    shares = (0.5, 0.1, 0.02)
    plans = [
        plan_budget(law, budget, demand, limits=Limits(unique_tokens=x * free.D)).t2 for x in shares
    ]
    epochs = [plan.epochs for plan in plans if plan.epochs is not None]
    assert epochs == sorted(epochs)
    assert 1 < epochs[0] < epochs[-1] <= MOST_EPOCHS * (1 + 1e-9)
    for plan, share in zip(plans, shares, strict=True):
        worth = float(effective_tokens(plan.D, share * free.D))
        assert plan.effective_tokens == pytest.approx(worth, rel=1e-12)
        assert any(f"are worth {worth:.3g} new ones" in words for words in plan.warnings)


def test_data_in_the_way_are_said_and_the_other_plan_has_them_too() -> None:
    report = plan_budget(
        law_with(1, 0.3), Budget(total=1e20), Demand(1e5, 16), limits=Limits(unique_tokens=1e8)
    )
    assert any("tokens repeated there are worth as little" in words for words in report.warnings)
    assert report.compute_optimal.effective_tokens < report.compute_optimal.D
    assert report.t2.pass_at_k >= report.compute_optimal.pass_at_k


def test_a_target_counts_repeats() -> None:
    law, budget, demand = random_approach2(2)
    best = plan_budget(law, budget, demand).t2
    free = plan_target(law, 0.5 * best.pass_at_k, demand)
    limits = Limits(unique_tokens=free.t2.D / 10)
    held = plan_target(law, 0.5 * best.pass_at_k, demand, limits=limits)
    assert held.t2.total_cost > free.t2.total_cost
    again = plan_budget(law, Budget(total=held.t2.total_cost), demand, limits=limits).t2
    assert again.pass_at_k == pytest.approx(0.5 * best.pass_at_k, rel=1e-6)
