"""The best plan of a budget that keeps one of N, D and k as another plan has it.

    N kept    train(N, D) + serve(N, k) = C over k, D the rest        samples against training
    k kept    the same over N, D the rest                             size against training
    D kept    the same over N, k the rest                             size against samples

What remains free is one number, found by a grid and zooming in on its best cell. The grid is even
in the logit of the free number's share of the most that can be paid for, so that plans are told
apart where the free number takes nearly the whole budget as well as where it takes next to none.

Units:  N parameters, D training tokens, k samples per question, budgets in the cost model's unit.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from t2engine.laws.gamma import Array
from t2engine.plan.baseline import rising_root
from t2engine.plan.optimizer import Plan, plan_of
from t2engine.plan.problem import Problem
from t2engine.plan.search import WIDEST_LOGIT

Name = Literal["N", "D", "k"]
NAMES: tuple[Name, ...] = ("N", "D", "k")

REACH = math.log(1e9)  # the least of the free number tried is this far below the most
GRID_POINTS = 401
ZOOM_POINTS = 65
FINEST = 1e-7  # of the logit: at a maximum merit is flat to the square of this
HELD = 1e-9  # relative slack of a limit


def best_keeping(problem: Problem, kept: Name, at: Plan) -> Plan | None:
    """None where the budget does not buy one token and one sample with `kept` as it is in `at`."""
    least, most = _free_range(problem, kept, at)
    if not least <= most:
        return None
    low = max(math.log(least / most), -REACH)
    high, points = WIDEST_LOGIT, GRID_POINTS
    while True:
        logit = np.linspace(low, high, points)
        # at the lower end exactly the least, whatever the share there
        free = np.maximum(most / (1 + np.exp(-logit)), least)
        N, D, k = _spent(problem, kept, at, free)
        merit = _merit(problem, N, D, k)
        best = int(np.argmax(merit))
        low, high = logit[max(best - 1, 0)], logit[min(best + 1, points - 1)]
        points = ZOOM_POINTS
        if high - low < FINEST:
            break
    if not np.isfinite(merit[best]):
        return None
    return plan_of(problem, float(N[best]), float(D[best]), float(k[best]))


def _free_range(problem: Problem, kept: Name, at: Plan) -> tuple[float, float]:
    """Of k where N is kept, else of N: from the least to the most that can be paid for."""
    cost, demand, limits = problem.cost, problem.demand, problem.limits
    total = problem.budget.total
    assert total is not None, "plans are compared within one budget"
    if kept == "N":
        left = total - float(cost.train(at.N, 1.0))
        most = float(cost.samples_for(at.N, left, demand)) if left > 0 else 0.0
        return 1.0, min(most, float(limits.most_samples(at.N, cost, demand)))
    D, k = (at.D, 1.0) if kept == "D" else (1.0, at.k)

    def over(log_N: Array) -> Array:
        N = np.exp(log_N)
        return cost.train(N, D) + cost.serve(N, k, demand) - total

    smallest, largest = limits.size_range
    return max(smallest, 1.0), min(math.exp(rising_root(over)), largest)


def _spent(problem: Problem, kept: Name, at: Plan, free: Array) -> tuple[Array, Array, Array]:
    """N, D and k when what `free` leaves of the budget goes to the third of them."""
    cost, demand, limits = problem.cost, problem.demand, problem.limits
    total = problem.budget.total
    assert total is not None
    if kept == "D":
        left = np.maximum(total - cost.train(free, at.D), 0.0)
        k = np.minimum(
            cost.samples_for(free, left, demand), limits.most_samples(free, cost, demand)
        )
        return free, np.full_like(free, at.D), k
    N, k = np.broadcast_arrays(*((at.N, free) if kept == "N" else (free, at.k)))
    left = np.maximum(total - cost.serve(N, k, demand), 0.0)
    return N, np.minimum(cost.tokens_for(N, left), limits.most_tokens), k


def _merit(problem: Problem, N: Array, D: Array, k: Array) -> Array:
    """The law's merit where at least one token and one sample are bought within limits."""
    cost, demand, limits = problem.cost, problem.demand, problem.limits
    most = limits.most_samples(N, cost, demand) * (1 + HELD)
    bought = (D >= 1) & (k >= 1) & (k <= most) & (limits.most_tokens * (1 + HELD) >= D)
    merit = problem.law.merit(N, np.maximum(D, 1.0), np.maximum(k, 1.0))
    return np.where(bought & limits.fits(N, np.maximum(k, 1.0), cost, demand), merit, -np.inf)
