"""The global search agrees with closed forms and brute force, and reports ties and edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import ArrayLike

from t2engine.costs.formula import Demand, FormulaCost
from t2engine.laws.approach2 import Approach2Law
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.gamma import Array
from t2engine.laws.law_file import read_shipped_law_file
from t2engine.plan.closed_form import solve_closed_form
from t2engine.plan.problem import Budget, Problem
from t2engine.plan.search import QUICK, search
from tests.plan.test_closed_form import random_problem

COST = FormulaCost()


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_the_closed_form(seed: int) -> None:
    law, budget, demand = random_problem(seed)
    exact = solve_closed_form(law, COST, budget, demand)
    best, *others = search(Problem(law, COST, budget, demand), (exact.N / 1e5, exact.N * 1e5))
    assert not others  # a convex problem has one optimum
    assert best.clipped == exact.clipped
    want = float(law.merit(exact.N, exact.D, exact.k))
    assert best.merit == pytest.approx(want, rel=1e-10)
    assert abs(best.N / exact.N - 1) < 1e-3


def random_approach2(seed: int) -> tuple[Approach2Law, Budget, Demand]:
    rng = np.random.default_rng(1000 + seed)
    training = ChinchillaLaw(
        E=rng.uniform(0.3, 1.0),
        A=10 ** rng.uniform(1.5, 2.5),
        alpha=rng.uniform(0.25, 0.5),
        B=10 ** rng.uniform(2, 3),
        beta=rng.uniform(0.25, 0.5),
    )
    law = Approach2Law(
        training,
        theta0=rng.uniform(1.5, 4),
        theta1=rng.uniform(0.8, 4),
        theta2=rng.uniform(0.5, 1),
        theta3=rng.uniform(-1, 3),
        theta4=rng.uniform(-0.5, 0.5),
    )
    if seed % 2:
        budget = Budget(train=10 ** rng.uniform(11, 15), inference=10 ** rng.uniform(6, 9))
        return law, budget, Demand()
    return law, Budget(total=10 ** rng.uniform(13, 17)), Demand(1e4, 16)


@pytest.mark.parametrize("seed", range(40))
def test_no_point_of_a_fine_grid_is_better(seed: int) -> None:
    law, budget, demand = random_approach2(seed)
    best, *_ = search(Problem(law, COST, budget, demand), (1e2, 1e9))
    N = np.geomspace(1e2, 1e9, 700)[:, None]
    if budget.is_split:
        D, k = COST.tokens_for(N, budget.train), COST.samples_for(N, budget.inference, demand)
    else:
        k = np.geomspace(1, 1e6, 500)
        D = COST.tokens_for(N, budget.total - COST.serve(N, k, demand))
    fits = (D >= 1) & (k >= 1)
    grid = np.where(fits, law.merit(N, np.maximum(D, 1), np.maximum(k, 1)), -np.inf)
    assert best.merit >= grid.max() * (1 - 1e-9)
    assert best.merit == pytest.approx(float(law.merit(best.N, best.D, best.k)), rel=1e-6)


@dataclass(frozen=True)
class TwoPeaks:
    """A law whose merit in ln N has peaks at 1e5 and, `lower` below it, at 1e7."""

    lower: float
    name = "two peaks"
    training = ChinchillaLaw(1, 1, 0.3, 1, 0.3)
    fit = None

    def merit(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        x = np.log10(np.asarray(N, float))
        peaks = np.exp(-((x - 5) ** 2) * 8) + (1 - self.lower) * np.exp(-((x - 7) ** 2) * 8)
        return np.asarray(peaks + 0 * np.asarray(D) + 0 * np.asarray(k), float)

    def pass_at_k(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        return self.merit(N, D, k)


BUDGET = Budget(train=1e20, inference=1e12)


def test_the_best_of_several_optima_is_found_and_ties_are_reported() -> None:
    clear = search(Problem(TwoPeaks(0.01), COST, BUDGET, Demand()), (1e3, 1e9))
    assert [round(np.log10(x.N), 4) for x in clear] == [5]
    tied = search(Problem(TwoPeaks(1e-8), COST, BUDGET, Demand()), (1e3, 1e9))
    assert [round(np.log10(x.N), 4) for x in tied] == [5, 7]


def test_an_optimum_on_the_edge_is_reported() -> None:
    best, *_ = search(Problem(TwoPeaks(0.0), COST, BUDGET, Demand()), (1e3, 5e4))
    assert best.at_edge == ("N",)
    assert abs(best.N / 5e4 - 1) < 1e-9


def test_a_budget_that_buys_nothing_is_refused() -> None:
    law, _, _ = random_approach2(0)
    with pytest.raises(ValueError, match="the budget is too small: no model of"):
        search(Problem(law, COST, Budget(total=10), Demand()), (1e2, 1e9))


@pytest.mark.parametrize("seed", range(40))
def test_the_quick_search_finds_the_same_optimum(seed: int) -> None:
    for law, budget, demand in (random_approach2(seed), random_problem(seed)):
        problem = Problem(law, COST, budget, demand)
        full, quick = (search(problem, (1e2, 1e9), *x)[0] for x in ((), (QUICK,)))
        assert (quick.N, quick.D, quick.k) == pytest.approx((full.N, full.D, full.k), rel=3e-4)
        assert quick.merit == pytest.approx(full.merit, rel=1e-6)
        assert quick.at_edge == full.at_edge


@pytest.mark.parametrize("budget", [Budget(total=1e15), Budget(train=1e14, inference=1e8)])
def test_the_quick_search_plans_refits_as_the_full_one(budget: Budget) -> None:
    """Every refit of the shipped law, whose plans are far apart."""
    resamples = read_shipped_law_file().resamples
    assert resamples is not None
    demand = Demand() if budget.is_split else Demand(1e6, 16)
    sizes = []
    for law in resamples.laws:
        problem = Problem(law, COST, budget, demand)
        full, quick = (search(problem, (77, 7.7e7), *x)[0] for x in ((), (QUICK,)))
        assert pytest.approx(full.N, rel=1e-3) == quick.N
        assert quick.k == pytest.approx(full.k, rel=1e-3)
        sizes.append(full.N)
    assert max(sizes) > 5 * min(sizes)
