"""Global search for the best (N, k) under a budget, for laws with several optima.

A grid over ln N (and, with one budget, over the logit of the share that goes to more than one
sample) finds every local maximum; each is refined by a box that halves around its best point. The
best of them, the others that tie with it, and those on the edge of the range are all reported.
QUICK looks over the same range with a coarser grid and stops at 1e-5 of ln N: for the many plans
that are only compared with a plan already found.

Shapes: a point is (ln N, logit of the extra share) [2]; with two budgets the second is idle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2engine.laws.gamma import Array
from t2engine.plan.problem import BudgetTooSmallError, Problem

WIDEST_LOGIT = 14.0  # a share within 1e-6 of 0 or 1
APART = 0.05  # in ln of N, D or k, of optima that are not the same one
TIE = 1e-6  # relative difference of merit that the data can never resolve


@dataclass(frozen=True)
class Effort:
    """How closely a search looks."""

    grid_split: int  # values of ln N with two budgets
    grid_total: tuple[int, int]  # values of ln N and of the logit share with one
    most_refined: int  # local maxima refined, best first
    box_points: int  # across a box, per coordinate
    rounds: int  # each halves the box


FULL = Effort(1001, (161, 121), 12, 9, 40)
QUICK = Effort(141, (57, 43), 3, 5, 15)


@dataclass(frozen=True)
class Found:
    """One local maximum. `at_edge` names the coordinates that lie on the search range."""

    N: float
    D: float
    k: float
    merit: float
    clipped: bool
    at_edge: tuple[str, ...]


def search(
    problem: Problem, N_range: tuple[float, float], effort: Effort = FULL
) -> tuple[Found, ...]:
    """The best point first, then those that tie with it."""
    split = problem.budget.is_split
    sizes = problem.limits.allowed
    num_N, num_shares = (effort.grid_split, 1) if split else effort.grid_total
    log_N = np.log(sizes) if sizes else log_range(*N_range, num_N)
    logit = np.zeros(1) if split else np.linspace(-WIDEST_LOGIT, WIDEST_LOGIT, num_shares)
    merit = problem.merit(np.exp(log_N)[:, None], extra_of(logit))
    if not np.isfinite(merit).any():
        raise BudgetTooSmallError(
            f"the budget is too small: no model of {math.exp(log_N[0]):.3g} to "
            f"{math.exp(log_N[-1]):.3g} parameters can be trained on one token and sampled once"
            + " within the limits"
            * problem.limits.any
        )
    peaks = np.argwhere(_local_maxima(merit))
    peaks = peaks[np.argsort(-merit[tuple(peaks.T)], kind="stable")]
    peaks = _one_of_a_plateau(peaks, merit)[: effort.most_refined]
    points = np.stack([log_N[peaks[:, 0]], logit[peaks[:, 1]]], axis=1)
    spacing = np.array(
        [0.0 if sizes else log_N[1] - log_N[0], 0.0 if split else logit[1] - logit[0]]
    )
    low = np.array([log_N[0], logit[0]])
    high = np.array([log_N[-1], logit[-1]])
    points, merits = refine(problem, points, spacing, low, high, effort)
    order = np.argsort(-merits, kind="stable")
    best = merits[order[0]]
    tied = [i for i in order if best - merits[i] <= TIE * abs(best)]
    kept: list[Found] = []
    for found in (_found(problem, points[i], float(merits[i]), low, high) for i in tied):
        if all(_apart(found, other) for other in kept):
            kept.append(found)
    return tuple(kept)


def _one_of_a_plateau(peaks: NDArray[np.int64], merit: Array) -> NDArray[np.int64]:
    """Where a limit holds D or k many shares buy the same: the first peak of each N and merit."""
    values = [(int(row), float(merit[row, column])) for row, column in peaks]
    return peaks[[i for i, value in enumerate(values) if value not in values[:i]]]


def _apart(one: Found, other: Found) -> bool:
    pairs = ((one.N, other.N), (one.D, other.D), (one.k, other.k))
    return any(abs(math.log(x / y)) > APART for x, y in pairs)


def log_range(low: float, high: float, num: int) -> Array:
    return np.linspace(math.log(low), math.log(high), num)


def refine(
    problem: Problem, points: Array, spacing: Array, low: Array, high: Array, effort: Effort = FULL
) -> tuple[Array, Array]:
    """Climb from every point [M, 2] in shrinking boxes; returns points and merits [M]."""
    offsets = np.linspace(-1.0, 1.0, effort.box_points)
    idle = np.zeros(1)
    boxes = np.stack(
        np.meshgrid(*(offsets if s > 0 else idle for s in spacing), indexing="ij"), axis=-1
    ).reshape(-1, 2)
    rows = np.arange(len(points))
    width = spacing.copy()
    merits = np.full(len(points), -np.inf)
    for _ in range(effort.rounds):
        trial = np.clip(points[:, None, :] + boxes * width, low, high)  # [M, box, 2]
        values = problem.merit(np.exp(trial[..., 0]), extra_of(trial[..., 1]))
        best = values.argmax(axis=1)
        better = values[rows, best] > merits
        points = np.where(better[:, None], trial[rows, best], points)
        merits = np.where(better, values[rows, best], merits)
        width = width * 0.5
    return points, merits


def extra_of(logit: Array) -> Array:
    """The share at a logit, shifted so that the lowest is 0: exactly one sample per question."""
    lowest = 1 / (1 + np.exp(WIDEST_LOGIT))
    return np.asarray(1 / (1 + np.exp(-logit)) - lowest, float)


def _local_maxima(merit: Array) -> NDArray[np.bool_]:
    """Points not below any of their neighbours (8, or 2 on a line), where the budget reaches."""
    padded = np.pad(merit, 1, constant_values=-np.inf)
    rows, columns = merit.shape
    peak = np.isfinite(merit)
    for i in range(3):
        for j in range(3):
            peak &= merit >= padded[i : i + rows, j : j + columns]
    return peak


def _found(problem: Problem, point: Array, merit: float, low: Array, high: Array) -> Found:
    N = math.exp(point[0])
    D, k = (float(x) for x in problem.plan_at(N, extra_of(point[1])))
    edges = ["N"] if min(point[0] - low[0], high[0] - point[0]) < 1e-6 else []
    if not problem.budget.is_split and high[1] - point[1] < 1e-6:
        edges.append("split")
    return Found(N, D, max(k, 1.0), merit, clipped=k < 1 + 1e-6, at_edge=tuple(edges))
