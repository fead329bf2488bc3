"""Approach 1's optimum in closed form: reference values, balance, and a brute-force grid.

The reference values belong to the coefficients Hoffmann et al. published (A 482.01, B 2085.43,
E 1.8172, alpha .3478, beta .3658 to all printed digits).
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from t2engine.costs.formula import Demand, FormulaCost
from t2engine.laws.approach1 import Approach1Law
from t2engine.plan.closed_form import solve_closed_form
from t2engine.plan.problem import Budget

PUBLISHED = {"E": 1.8172, "A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658}
COST = FormulaCost()


def law_with(G: float, gamma: float) -> Approach1Law:
    return Approach1Law(**PUBLISHED, G=G, gamma=gamma)


@pytest.mark.parametrize(
    ("train", "inference", "G", "N", "k", "ratio"),
    [
        (2.56e19, 2e9, 1, 1.16952e8, 8.5505, 311.94),
        (1e21, 1.4e11, 1, 8.0527e8, 86.927, 257.02),
        (2.56e19, 2e9, 3, 3.53016e7, 28.327, 3423.7),
    ],
)
def test_two_budgets_reference_values(
    train: float, inference: float, G: float, N: float, k: float, ratio: float
) -> None:
    budget = Budget(train=train, inference=inference)
    found = solve_closed_form(law_with(G, 0.3), COST, budget, Demand())
    assert (found.N, found.k, found.D / found.N) == pytest.approx((N, k, ratio), rel=2e-5)


def test_equal_exponents_have_an_explicit_root() -> None:
    law = law_with(3, 0.3658)
    budget = Budget(train=1e22, inference=1e12)
    found = solve_closed_form(law, COST, budget, Demand())
    falls = law.beta * (law.B * (6 / 1e22) ** law.beta + law.G * (2 / 1e12) ** law.beta)
    explicit = (law.alpha * law.A / falls) ** (1 / (law.alpha + law.beta))
    assert explicit == pytest.approx(855910761.0, rel=1e-9)
    assert abs(found.N / explicit - 1) < 1e-12


@pytest.mark.parametrize(
    ("tokens", "N", "k", "ratio"),
    [(1e9, 8.60399e9, 2755.7, 118.4), (1e12, 1.06314e9, 38.737, 2600)],
)
def test_one_budget_reference_values(tokens: float, N: float, k: float, ratio: float) -> None:
    found = solve_closed_form(
        law_with(1, 0.3), COST, Budget(total=1e23), Demand(questions=tokens / 16, output_tokens=16)
    )
    assert (found.N, found.k) == pytest.approx((N, k), rel=2e-5)
    assert pytest.approx(ratio, rel=5e-4) == found.D / found.N


def random_problem(seed: int) -> tuple[Approach1Law, Budget, Demand]:
    rng = np.random.default_rng(seed)
    law = Approach1Law(
        E=rng.uniform(0, 2),
        A=10 ** rng.uniform(1, 4),
        alpha=rng.uniform(0.1, 1.2),
        B=10 ** rng.uniform(1, 4),
        beta=rng.uniform(0.1, 1.2),
        G=10 ** rng.uniform(-2, 1),
        gamma=rng.uniform(0.05, 1.2),
    )
    prompt = rng.choice([0.0, rng.uniform(1, 500)])
    if seed % 2:
        budget = Budget(train=10 ** rng.uniform(13, 24), inference=10 ** rng.uniform(8, 14))
        return law, budget, Demand(1, rng.uniform(1, 50), prompt)
    demand = Demand(10 ** rng.uniform(0, 9), rng.uniform(1, 50), prompt)
    return law, Budget(total=10 ** rng.uniform(14, 24)), demand


@pytest.mark.parametrize("seed", range(200))
def test_balanced_affordable_and_better_than_a_grid(seed: int) -> None:
    law, budget, demand = random_problem(seed)
    found = solve_closed_form(law, COST, budget, demand)
    assert found.kkt_residual < 1e-9
    assert found.k >= 1
    spent_train = float(COST.train(found.N, found.D))
    spent_serve = float(COST.serve(found.N, found.k, demand))
    best = float(law.nll(found.N, found.D, found.k))
    if budget.is_split:
        assert spent_train == pytest.approx(budget.train, rel=1e-9)
        assert spent_serve == pytest.approx(budget.inference, rel=1e-9)
        N = np.geomspace(found.N / 1e4, found.N * 1e4, 4001)
        D, k = COST.tokens_for(N, budget.train), COST.samples_for(N, budget.inference, demand)
    else:
        assert spent_train + spent_serve == pytest.approx(budget.total, rel=1e-9)
        N = np.geomspace(found.N / 1e4, found.N * 1e4, 801)[:, None]
        k = np.maximum(found.k * np.geomspace(1e-4, 1e4, 401), 1.0)
        D = COST.tokens_for(N, budget.total - COST.serve(N, k, demand))
    fits = np.broadcast_to((D > 0) & (k >= 1), np.broadcast_shapes(D.shape, k.shape))
    grid = np.where(fits, law.nll(N, np.where(D > 0, D, 1), np.maximum(k, 1)), np.inf)
    assert best <= grid.min() + 1e-12 * abs(grid.min())
    assert grid.min() - best < 2e-3 * (best - law.E)  # the grid comes close: it saw the optimum


@pytest.mark.parametrize("seed", range(60))
def test_moving_along_the_budget_gains_nothing(seed: int) -> None:
    """The stated residual is real: finite differences over what stays free on the budget."""
    law, budget, demand = random_problem(seed)
    found = solve_closed_form(law, COST, budget, demand)
    if found.clipped:
        assert found.k == 1
        return

    def loss(log_N: float) -> float:
        N = math.exp(log_N)
        k = COST.samples_for(N, budget.inference, demand)
        return float(law.nll(N, COST.tokens_for(N, budget.train), k))

    def loss_of_one_budget(log_D: float, log_k: float) -> float:
        D, k = math.exp(log_D), math.exp(log_k)
        N = budget.total / float(COST.train(1.0, D) + COST.serve(1.0, k, demand))
        return float(law.nll(N, D, k))

    h, scale = 1e-4, law.alpha * law.A * found.N**-law.alpha
    if budget.is_split:
        at = math.log(found.N)
        slopes = [loss(at + h) - loss(at - h)]
    else:
        D, k = math.log(found.D), math.log(found.k)
        slopes = [
            loss_of_one_budget(D + h, k) - loss_of_one_budget(D - h, k),
            loss_of_one_budget(D, k + h) - loss_of_one_budget(D, k - h),
        ]
    assert max(map(abs, slopes)) / (2 * h) < 1e-6 * scale + 1e-10


def test_smaller_than_chinchilla_and_bounded() -> None:
    """Two budgets: N* < N of the compute-optimal plan, and N* stops growing with training."""
    law = law_with(1, 0.3)
    chinchilla = (law.alpha * law.A / (law.beta * law.B) * (2.56e19 / 6) ** law.beta) ** (
        1 / (law.alpha + law.beta)
    )
    found = solve_closed_form(law, COST, Budget(train=2.56e19, inference=2e9), Demand())
    assert found.N / chinchilla < 1
    limit = (law.alpha * law.A / (law.gamma * law.G) * (1e9) ** law.gamma) ** (
        1 / (law.alpha + law.gamma)
    )
    rich = solve_closed_form(law, COST, Budget(train=1e40, inference=2e9), Demand())
    assert abs(rich.N / limit - 1) < 1e-4


def test_less_than_one_sample_is_clipped() -> None:
    found = solve_closed_form(
        law_with(1e-3, 0.3), COST, Budget(train=2.56e19, inference=2e8), Demand()
    )
    assert found.clipped
    assert (found.N, found.k) == pytest.approx((1e8, 1), rel=1e-12)
    one = solve_closed_form(law_with(1e-4, 0.3), COST, Budget(total=1e21), Demand(questions=1e13))
    assert one.clipped
    assert one.k == 1
    assert one.kkt_residual < 1e-9


def test_a_law_without_a_power_is_refused() -> None:
    with pytest.raises(ValueError, match="Approach 1's G must be above 0 to plan with, got 0"):
        solve_closed_form(law_with(0, 0.3), COST, Budget(total=1e21), Demand())
