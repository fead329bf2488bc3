"""How a plan moves when one assumption changes: closed forms, and the search beside them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from t2engine.costs.formula import Demand, FormulaCost
from t2engine.costs.scaled import ScaledCost
from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.approach2 import Approach2Law
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.law import FitReport
from t2engine.plan.limits import Limits
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget
from t2engine.plan.sensitivity import Assumptions, Move, sensitivities

# With gamma = beta, N = [alpha A / (beta (B (6 / C_t)^beta + G (2 T / C_i)^beta))]^(1 / (a + b))
LAW = Approach1Law(E=0.01, A=478.0, alpha=0.35, B=2143.0, beta=0.37, G=3.0, gamma=0.37)
TRAIN, SERVE = 1e22, 1e12
SPLIT = Budget(train=TRAIN, inference=SERVE)
TWO = Approach2Law(ChinchillaLaw(0.6, 60.0, 0.35, 600.0, 0.42), 2.0, 1.6, 1.0, 1.2, -0.1)


def size(train_price: float = 6.0, serve_price: float = 2.0, law: Approach1Law = LAW) -> float:
    lost = law.B * (train_price / TRAIN) ** law.beta + law.G * (serve_price / SERVE) ** law.beta
    return float((law.alpha * law.A / (law.beta * lost)) ** (1 / (law.alpha + law.beta)))


def by_change(moves: tuple[Move, ...]) -> dict[str, Move]:
    return {move.change: move for move in moves}


def test_moves_are_those_of_the_closed_form() -> None:
    report = plan_budget(LAW, SPLIT)
    other = replace(LAW, A=2 * LAW.A)
    found = by_change(sensitivities(report, Assumptions(LAW, alternatives=(other,))))
    want = {  # factors of N, and of what the budgets buy at equal N: tokens and samples
        "budget x2": (size(3.0, 1.0) / size(), 2.0, 2.0),
        "budget /2": (size(12.0, 4.0) / size(), 0.5, 0.5),
        "training cost +25 %": (size(7.5) / size(), 0.8, 1.0),
        "serving cost +25 %": (size(6.0, 2.5) / size(), 1.0, 0.8),
        "output tokens x2": (size(6.0, 4.0) / size(), 1.0, 0.5),
        "the law approach1": (size(law=other) / size(), 1.0, 1.0),
    }
    for change, (N, tokens, samples) in want.items():
        move = found[change]
        assert (move.N, move.D, move.k) == pytest.approx((N, tokens / N, samples / N), rel=1e-9)
    assert pytest.approx(2 ** (0.37 / 0.72), rel=1e-9) == found["budget x2"].N
    assert found["serving cost +25 %"].N < 1  # type: ignore[operator]
    assert "questions x2" not in found  # an inference budget is for one
    assert set(want) < set(found)


def test_a_small_change_moves_by_the_derivative() -> None:
    """d ln N / d ln(serving price) = - share / (alpha + beta) beta, share of samples in the loss
    that N trades against."""
    B, G, b = LAW.B * (6 / TRAIN) ** LAW.beta, LAW.G * (2 / SERVE) ** LAW.beta, LAW.beta
    slope = -b / (LAW.alpha + b) * G / (B + G)
    small = 1e-4
    numeric = math.log(size(6.0, 2.0 * (1 + small)) / size(6.0, 2.0 * (1 - small))) / (2 * small)
    assert numeric == pytest.approx(slope, rel=1e-6)
    found = by_change(sensitivities(plan_budget(LAW, SPLIT), Assumptions(LAW)))
    dearer = found["serving cost +25 %"].N
    assert dearer is not None
    assert math.log(dearer) == pytest.approx(slope * math.log(1.25), rel=0.05)


@pytest.mark.parametrize("budget", [SPLIT, Budget(total=1e22)])
def test_the_search_moves_as_the_closed_form_does(budget: Budget) -> None:
    demand = Demand() if budget.is_split else Demand(1e6, 16, 40)
    report = plan_budget(LAW, budget, demand)
    exact = by_change(sensitivities(report, Assumptions(LAW)))
    searched = by_change(sensitivities(report, Assumptions(LAW, ScaledCost(FormulaCost()))))
    assert set(exact) == set(searched)
    assert len(exact) == (6 if budget.is_split else 7)
    for change, move in exact.items():
        other = searched[change]
        assert (other.N, other.D, other.k) == pytest.approx((move.N, move.D, move.k), rel=3e-4)
        assert other.pass_at_k == pytest.approx(move.pass_at_k, rel=1e-7)


@pytest.mark.parametrize("law", [LAW, TWO])
def test_moves_are_plans_of_the_changed_problem(law: Approach1Law | Approach2Law) -> None:
    """Each beside the full search; the largest comes first."""
    budget, demand = Budget(total=1e16), Demand(1e5, 16)
    report = plan_budget(law, budget, demand)
    moves = sensitivities(report, Assumptions(law))
    assert [move.size for move in moves] == sorted((move.size for move in moves), reverse=True)
    found = by_change(moves)
    want = {
        "budget x2": plan_budget(law, Budget(total=2e16), demand),
        "questions x2": plan_budget(law, budget, replace(demand, questions=2e5)),
        "output tokens x2": plan_budget(law, budget, replace(demand, output_tokens=32)),
        "a prompt of 16 tokens": plan_budget(law, budget, replace(demand, prompt_tokens=16)),
        "training cost +25 %": plan_budget(law, budget, demand, FormulaCost(7.5, 2.0)),
    }
    for change, other in want.items():
        assert pytest.approx(other.t2.N / report.t2.N, rel=1e-3) == found[change].N
        assert found[change].k == pytest.approx(other.t2.k / report.t2.k, rel=1e-3)
        assert found[change].pass_at_k == pytest.approx(other.t2.pass_at_k, rel=1e-6)


def test_limits_hold_in_every_move_but_the_one_without() -> None:
    budget, demand = Budget(total=1e16), Demand(1e5, 16)
    free = plan_budget(TWO, budget, demand)
    limits = Limits(max_tokens=free.t2.D / 4)
    report = plan_budget(TWO, budget, demand, limits=limits)
    found = by_change(sensitivities(report, Assumptions(TWO, limits=limits)))
    assert pytest.approx(1, rel=1e-6) == found["budget x2"].D
    assert pytest.approx(4, rel=1e-3) == found["no limits"].D
    assert found["no limits"].pass_at_k == pytest.approx(free.t2.pass_at_k, rel=1e-6)


def test_a_budget_that_halved_buys_nothing_is_said() -> None:
    """One sample of the smallest model allowed costs 3.2e12 for all questions."""
    limits = Limits(min_size=1e6)
    report = plan_budget(TWO, Budget(total=5e12), Demand(1e5, 16), limits=limits)
    first = sensitivities(report, Assumptions(TWO, limits=limits))[0]
    assert first.change in ("budget /2", "questions x2", "output tokens x2")
    assert first.N is first.pass_at_k is None
    assert first.size == math.inf


def test_standard_errors_move_one_parameter() -> None:
    """With G more by its error, N is the closed form's at that G."""
    fit = FitReport(
        *(True, 0.0, 0.0, 9, 9, (), 1, 1, (1e6, 1e9), (1e9, 1e12)), standard_errors={"G": 1.5}
    )
    law = replace(LAW, fit=fit)
    found = by_change(sensitivities(plan_budget(law, SPLIT), Assumptions(law)))
    want = size(law=replace(LAW, G=4.5)) / size()
    assert pytest.approx(want, rel=1e-9) == found["law's G +1 standard error"].N
    assert found["law's G +1 standard error"].of == "parameter"
    assert np.isfinite([move.size for move in found.values()]).all()
