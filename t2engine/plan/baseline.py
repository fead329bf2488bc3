"""The compute-optimal plan at the same budget, and how much more it needs to be as good.

Compute-optimal is training as the Chinchilla law says, whatever will be served: N and D lie on

    alpha A N^-alpha = beta B D^-beta            (the least training loss at every 6 N D)

with the coefficients of the same fitted law. With two budgets the training budget fixes N and D
and the inference budget k. With one, the point of that path is chosen that gives the highest
predicted pass@k once the rest of the budget buys samples: the strongest such plan. Where a
compute-optimal model could not be sampled even once, N shrinks until it can. The selection rule is
that of the plan beside it.

Source: Hoffmann et al., arXiv:2203.15556, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from t2engine.laws.gamma import Array
from t2engine.plan.problem import Problem

LARGEST_RATIO = 1e6  # budgets beyond this multiple are not searched
PATH_POINTS = 257
PATH_REACH = 1e9  # the smallest N tried is this many times below the largest affordable
FINEST = 1e-6  # of ln N: at a maximum merit is flat to the square of this
SAME_MERIT = 1e-9
LARGEST_LOG = 600.0  # of D, before a float overflows
ROOT_RANGE = (-50.0, 200.0)  # ln N
ROOT_POINTS = 65  # of every round, which divides the bracket by one less
ROOT_ROUNDS = 9  # 250 / 64**9 is below the last bit


@dataclass(frozen=True)
class Baseline:
    N: float
    D: float
    k: float
    merit: float
    clipped: bool  # N had to shrink so that one sample fits


def compute_optimal(problem: Problem) -> Baseline:
    if problem.budget.total is not None:
        return _best_on_path(problem, problem.budget.total)
    assert problem.budget.train is not None
    assert problem.budget.inference is not None
    train, serve = problem.budget.train, problem.budget.inference

    def over_training(log_N: Array) -> Array:
        N = np.exp(log_N)
        return problem.cost.train(N, path_tokens(problem, N)) - train

    def over_serving(log_N: Array) -> Array:
        return problem.cost.serve(np.exp(log_N), 1.0, problem.demand) - serve

    log_N, most = rising_root(over_training), rising_root(over_serving)
    N = math.exp(min(log_N, most))
    D = float(problem.cost.tokens_for(N, train))
    k = 1.0 if most < log_N else float(problem.samples_for(N, D, serve))
    return _baseline(problem, N, D, k, most < log_N)


def path_tokens(problem: Problem, N: Array) -> Array:
    """The D that belongs to each N on the compute-optimal path."""
    law = problem.law.training
    gain = math.log(law.beta * law.B) - math.log(law.alpha * law.A)
    return np.exp(np.minimum((gain + law.alpha * np.log(N)) / law.beta, LARGEST_LOG))


def budget_ratio(problem: Problem, merit: float) -> float | None:
    """The least multiple of the budget at which the compute-optimal plan reaches `merit`."""

    def short(log_ratio: float) -> float:
        return merit - compute_optimal(problem.scaled(math.exp(log_ratio))).merit

    low, high = 0.0, math.log(LARGEST_RATIO)
    if short(low) <= SAME_MERIT * abs(merit):
        return 1.0
    if short(high) > 0:
        return None
    return math.exp(_falling_root(short, low, high))


def _best_on_path(problem: Problem, total: float) -> Baseline:
    """The best point of the path over ln N, by a grid and zooming in on its best cell."""

    def over(log_N: Array) -> Array:
        N = np.exp(log_N)
        one_each = problem.cost.serve(N, 1.0, problem.demand)
        return problem.cost.train(N, path_tokens(problem, N)) + one_each - total

    top = rising_root(over)
    low, high = top - math.log(PATH_REACH), top
    while True:
        log_N = np.linspace(low, high, PATH_POINTS)
        N = np.exp(log_N)
        D = path_tokens(problem, N)
        left = total - problem.cost.train(N, D)
        k = np.maximum(problem.samples_for(N, D, left), 1.0)
        merit = problem.law.merit(N, np.maximum(D, 1.0), k)
        best = int(np.argmax(merit))
        low, high = log_N[max(best - 1, 0)], log_N[min(best + 1, PATH_POINTS - 1)]
        if high - low < FINEST:
            break
    return _baseline(problem, float(N[best]), float(D[best]), float(k[best]), False)


def _baseline(problem: Problem, N: float, D: float, k: float, clipped: bool) -> Baseline:
    merit = float(problem.law.merit(N, max(D, 1.0), k))
    return Baseline(N, D, k, merit, clipped)


def rising_root(function: Callable[[Array], Array]) -> float:
    """The last ln N at which a rising function of arrays is not above 0."""
    low, high = ROOT_RANGE
    for _ in range(ROOT_ROUNDS):
        at = np.linspace(low, high, ROOT_POINTS)
        with np.errstate(over="ignore"):  # infinite is above 0, as it should be
            below = function(at[1:-1]) <= 0
        last = int(below.sum())
        low, high = float(at[last]), float(at[last + 1])
    return low


def _falling_root(function: Callable[[float], float], low: float, high: float) -> float:
    """False position with the stale end's value halved (the Illinois rule), to 1e-9."""
    at_low, at_high = function(low), function(high)
    while high - low > 1e-9 and at_low != at_high:
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        value = function(middle)
        if abs(value) < 1e-12 or not low < middle < high:
            return middle
        if value > 0:
            low, at_low, at_high = middle, value, at_high / 2
        else:
            high, at_high, at_low = middle, value, at_low / 2
    return high
