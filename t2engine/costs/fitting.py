"""Fit positive numbers to measured seconds, and say how far a prediction may be off.

    minimise  sum rho(ln(predicted / measured) / spread) + sum (ln(number / start) / freedom)^2

over the logarithms of the numbers: rho is soft_l1, spread is FLOOR_SPREAD or a point's own where
that is more, and the second sum holds what the points do not determine near `start`.

The error of a prediction is what fits make of points left out of them: each fold leaves out one
model shape, whole, that lies between others in size, since it is models never measured that are
asked for. (With fewer than three shapes a fold leaves out every eighth point.)

Units:  spreads and errors are of natural logarithms.
Source: Vovk et al., Algorithmic Learning in a Random World, 2005, for the conformal quantile;
        Barber et al., arXiv:1905.02928, for leaving out and refitting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2engine.costs.steps import Array

FLOOR_SPREAD = 0.04  # of a point: a smooth form is no nearer than this to tiles and caches
PROBED, GUESSED = 1.0, 2.0  # how far a number may lie from its start, in ln, at one sigma
CONFIDENCE = 0.9
# Of left-out errors, taken for CONFIDENCE: errors of one shape go together, so that points of a few
# shapes say less of the next one than as many points apart would.
QUANTILE = 0.92
NORMAL_QUANTILE = 1.645  # of the central 90 %
EVERY = 8  # points, of which a fold leaves out one
EVALUATIONS = 300
TOLERANCE = 1e-6  # of the sum, where what is fitted has noise of per cents

Indices = NDArray[np.int64]
Predict = Callable[[Array], Array]  # ln of the numbers to the seconds of some points


@dataclass(frozen=True)
class Fit:
    """vector: the numbers. left_out: points, as often as a fold left them out, and errors: what
    the fold's fit made of them, ln(predicted / measured)."""

    vector: Array
    converged: bool
    left_out: Indices
    errors: Array


@dataclass(frozen=True)
class HalfWidths:
    """Of intervals of CONFIDENCE, in ln.

    typical: of the median over minutes, as points are recorded: what the model may be off.
    one_run: of a run at one moment of another day, with what repeats and days differ besides.
    """

    typical: float
    one_run: float


def fit_with_errors(
    model_of: Callable[[Indices], Predict],
    seconds: Array,
    spreads: Array,
    shapes: Sequence[str],
    start: Array,
    freedom: Array,
) -> Fit:
    """model_of(index) predicts the points of `index`.

    shapes: the model shape of each point; as they come, they are in order of size.
    """

    def fit(index: Indices, from_where: Array) -> tuple[Array, bool]:
        return fit_positive(
            model_of(index),
            *(seconds[index], spreads[index], start, freedom, from_where),
        )

    everything = np.arange(len(seconds))
    vector, converged = fit(everything, start)
    left_out, errors = [], []
    for fold in folds(shapes):
        without, _ = fit(np.setdiff1d(everything, fold), vector)
        left_out.append(fold)
        errors.append(np.log(model_of(fold)(np.log(without)) / seconds[fold]))
    return Fit(vector, converged, np.concatenate(left_out), np.concatenate(errors))


def fit_positive(
    predict: Predict,
    seconds: Array,
    spreads: Array,
    start: Array,
    freedom: Array,
    from_where: Array,
) -> tuple[Array, bool]:
    """The numbers, and whether the search ended by itself. It begins `from_where`."""
    from scipy.optimize import least_squares  # reading a profile does without scipy

    spread = np.maximum(spreads, FLOOR_SPREAD)

    def residuals(log_numbers: Array) -> Array:
        off = np.log(predict(log_numbers) / seconds) / spread
        rounded = np.sign(off) * np.sqrt(2 * (np.sqrt(1 + off**2) - 1))  # soft_l1 as a residual
        return np.concatenate([rounded, (log_numbers - np.log(start)) / freedom])

    found = least_squares(
        residuals, np.log(from_where), x_scale=freedom, ftol=TOLERANCE, max_nfev=EVALUATIONS
    )
    return np.exp(found.x), bool(found.status > 0)


def folds(shapes: Sequence[str]) -> Iterator[Indices]:
    """What each fit leaves out."""
    names = list(dict.fromkeys(shapes))
    which = np.array([names.index(shape) for shape in shapes])
    for number in range(1, len(names) - 1):
        yield np.flatnonzero(which == number)
    if len(names) < 3:
        for number in range(EVERY):
            yield np.arange(number, len(shapes), EVERY)


def half_widths(
    fit: Fit,
    visits: Sequence[Sequence[float]],
    chosen: NDArray[np.bool_],
    day_spread: float = 0.0,
) -> HalfWidths:
    """visits: each point's seconds, round by round. chosen: the points to go by.

    day_spread: how much a machine is slow or fast as a whole from one day to another, in ln.
    """
    of_points: list[float] = []
    of_visits: list[float] = []
    for point, error in zip(fit.left_out, fit.errors, strict=True):
        if chosen[point]:
            seconds = np.array(visits[point])
            of_points.append(float(error))
            of_visits += (error + np.log(np.median(seconds) / seconds)).tolist()
    if not of_points:
        return HalfWidths(math.inf, math.inf)
    one_run = conformal_quantile(np.array(of_visits), QUANTILE)
    return HalfWidths(
        typical=conformal_quantile(np.array(of_points), QUANTILE),
        one_run=math.hypot(one_run, NORMAL_QUANTILE * day_spread),
    )


def conformal_quantile(errors: Array, confidence: float) -> float:
    """The size of error that a new point's stays below with this probability."""
    rank = math.ceil((len(errors) + 1) * confidence)
    ordered = np.sort(np.abs(errors))
    return float(ordered[min(rank, len(ordered)) - 1])
