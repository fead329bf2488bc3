"""Fit the rates of step_time.py to measured steps, and say how far a prediction may be off.

    minimise  sum rho(ln(predicted / measured) / spread) + sum (ln(rate / start) / freedom)^2

over the logarithms of the rates: rho is soft_l1, spread is FLOOR_SPREAD or a point's own where that
is more, and the second sum holds what the steps do not determine near `start`, which comes from
probes. The error of a prediction is what the fit makes of model shapes left out of it, each in
turn: the conformal quantile of |ln(predicted / measured)|.

Units:  spreads and errors are of natural logarithms.
Source: Vovk et al., Algorithmic Learning in a Random World, 2005, for the quantile; Barber et al.,
        arXiv:1905.02928, for leaving out and refitting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from t2engine.costs.step_time import StepRates, step_seconds
from t2engine.costs.steps import Array, StepTable

FLOOR_SPREAD = 0.04  # of a point: a smooth form is no nearer than this to tiles and caches
PROBED, GUESSED = 1.0, 2.0  # how far a number may lie from its start, in ln, at one sigma
CONFIDENCE = 0.9
EVALUATIONS = 300

Predict = Callable[[Array], Array]  # ln of the numbers -> seconds [S]


@dataclass(frozen=True)
class Fit:
    """vector: the numbers, in their own order. errors: |ln(predicted / measured)| of every point
    when its group was left out. half_width: of an interval of CONFIDENCE, in ln."""

    vector: Array
    converged: bool
    errors: Array
    half_width: float


def fit_positive(
    predict: Predict, seconds: Array, spreads: Array, start: Array, freedom: Array
) -> tuple[Array, bool]:
    """The numbers, and whether the search ended by itself."""
    spread = np.maximum(spreads, FLOOR_SPREAD)

    def residuals(log_numbers: Array) -> Array:
        off = np.log(predict(log_numbers) / seconds) / spread
        rounded = np.sign(off) * np.sqrt(2 * (np.sqrt(1 + off**2) - 1))  # soft_l1 as a residual
        return np.concatenate([rounded, (log_numbers - np.log(start)) / freedom])

    found = least_squares(
        residuals, np.log(start), method="trf", x_scale=freedom, max_nfev=EVALUATIONS
    )
    return np.exp(found.x), bool(found.status > 0)


def fit_with_errors(
    predict: Callable[[Array, Array], Array],
    seconds: Array,
    spreads: Array,
    groups: Sequence[Hashable],
    start: Array,
    freedom: Array,
) -> Fit:
    """predict(ln numbers, index) gives the seconds of the points of `index`.

    groups: of each point, left out together. With fewer than three groups nothing is left out, and
    the error is of the fit itself.
    """

    def fit(index: Array, from_where: Array) -> tuple[Array, bool]:
        return fit_positive(
            lambda x: predict(x, index), seconds[index], spreads[index], from_where, freedom
        )

    everything = np.arange(len(seconds))
    vector, converged = fit(everything, start)
    names = sorted(set(groups), key=str)
    of_group = np.array([names.index(g) for g in groups])
    errors = np.abs(np.log(predict(np.log(vector), everything) / seconds))
    if len(names) >= 3:
        for number in range(len(names)):
            left_out = np.flatnonzero(of_group == number)
            without, _ = fit(np.flatnonzero(of_group != number), start)
            predicted = predict(np.log(without), left_out)
            errors[left_out] = np.abs(np.log(predicted / seconds[left_out]))
    return Fit(vector, converged, errors, conformal_quantile(errors, CONFIDENCE))


def fit_step_rates(
    steps: StepTable,
    seconds: Array,
    spreads: Array,
    groups: Sequence[Hashable],
    start: StepRates,
    probed: frozenset[str],
) -> tuple[StepRates, Fit]:
    """start: a first guess. probed: those of its numbers that were measured by themselves."""
    names = list(StepRates.__dataclass_fields__)
    freedom = np.array([PROBED if name in probed else GUESSED for name in names])

    def predict(log_numbers: Array, index: Array) -> Array:
        return step_seconds(StepRates(*np.exp(log_numbers)), steps.take(index))

    fit = fit_with_errors(predict, seconds, spreads, groups, start.vector(), freedom)
    return StepRates(*fit.vector.tolist()), fit


def conformal_quantile(errors: Array, confidence: float) -> float:
    """The error that a new point stays below with this probability."""
    rank = math.ceil((len(errors) + 1) * confidence)
    ordered = np.sort(errors)
    return float(ordered[min(rank, len(ordered)) - 1])
