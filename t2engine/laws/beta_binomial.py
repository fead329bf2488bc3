"""Fit p ~ Beta(a, b) to counts by the beta-binomial likelihood.

    log-likelihood = sum_i ln B(a + c_i, b + n_i - c_i) - ln B(a, b)        (up to a constant)

Maximised over logit(mean) and log(concentration), mean = a / (a + b), concentration = a + b, by
Newton's method with the analytic Hessian made positive definite and a backtracking line search.

Shapes: num_samples, num_correct, weights [Q]; Q questions.
Raises: ValueError when no sample at all is right: then every a > 0 loses to a smaller one.
Source: Skellam 1948, J. R. Stat. Soc. B 10(2); used for pass@k by Kazdan et al., arXiv:2502.17578.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2engine.laws.gamma import (
    Array,
    digamma_difference,
    log_gamma_ratio,
    trigamma_difference,
)

# Beyond these the likelihood is flat to rounding: all-or-nothing questions, or equal ones.
LOG_CONCENTRATION = (math.log(1e-4), math.log(1e8))
LOGIT_MEAN = (-40.0, 40.0)
MAX_STEPS = 100


@dataclass(frozen=True)
class BetaFit:
    """Beta(a, b) over questions. `bounds_hit` names what the data did not determine."""

    a: float
    b: float
    log_likelihood: float
    converged: bool
    bounds_hit: tuple[str, ...]
    num_questions: int


def fit_beta_binomial(
    num_samples: ArrayLike,
    num_correct: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    start: tuple[float, float] | None = None,
) -> BetaFit:
    n, c, w = _grouped(num_samples, num_correct, weights)
    if (w * c).sum() == 0:
        raise ValueError("num_correct is 0 for every question: Beta(a, b) cannot be fitted")
    low = np.array([LOGIT_MEAN[0], LOG_CONCENTRATION[0]])
    high = np.array([LOGIT_MEAN[1], LOG_CONCENTRATION[1]])
    point = np.clip(_moments(n, c, w) if start is None else _to_point(*start), low, high)
    value, gradient, hessian = _likelihood(point, n, c, w)
    converged = False
    for _ in range(MAX_STEPS):
        free = ~(((point <= low) & (gradient < 0)) | ((point >= high) & (gradient > 0)))
        if np.abs(gradient * free).max() <= 1e-9 * w.sum():
            converged = True
            break
        step = _ascent_step(gradient, hessian, free)
        for halving in range(40):
            trial = np.clip(point + step * 0.5**halving, low, high)
            new = _likelihood(trial, n, c, w)
            if new[0] > value:
                break
        else:
            # no better point along an ascent direction: the top, to rounding
            converged = bool(np.abs(gradient * free).max() <= 1e-5 * w.sum())
            break
        point, (value, gradient, hessian) = trial, new
    names = ("mean", "concentration")
    hit = tuple(x for x, at in zip(names, (point <= low) | (point >= high), strict=True) if at)
    a, b = _to_shape(point)
    return BetaFit(a, b, float(value), converged, hit, int(np.size(num_samples)))


def _grouped(
    num_samples: ArrayLike, num_correct: ArrayLike, weights: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Distinct (n, c) pairs and how much each weighs: 200 questions are often 40 pairs."""
    n, c = np.asarray(num_samples, float).ravel(), np.asarray(num_correct, float).ravel()
    w = np.ones_like(n) if weights is None else np.asarray(weights, float).ravel()
    pairs, index = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
    total = np.bincount(index.ravel(), weights=w, minlength=pairs.shape[1])
    kept = total > 0
    return pairs[0][kept], pairs[1][kept], total[kept].astype(float)


def _likelihood(point: Array, n: Array, c: Array, w: Array) -> tuple[float, Array, Array]:
    """Value, gradient and Hessian over (logit mean, log concentration)."""
    a, b = _to_shape(point)
    start = np.array([[a], [b], [a + b]])
    drawn = np.stack([c, n - c, n])  # [3, Q]: successes, failures, samples
    sign = np.array([1.0, 1.0, -1.0])
    value = sign @ (log_gamma_ratio(start, drawn) @ w)
    first = digamma_difference(start, drawn) @ w
    by_a, by_b = first[:2] - first[2]
    second = trigamma_difference(start, drawn) @ w
    curvature = np.diag(second[:2]) - second[2]
    mean = a / (a + b)
    spread = a * b / (a + b)
    jacobian = np.array([[spread, a], [-spread, b]])  # d(a, b) / d(logit mean, log conc.)
    gradient = jacobian.T @ [by_a, by_b]
    skew = (1 - 2 * mean) * spread
    bend_a, bend_b = (
        np.array([[skew, spread], [spread, a]]),
        np.array([[-skew, -spread], [-spread, b]]),
    )
    hessian = jacobian.T @ curvature @ jacobian + by_a * bend_a + by_b * bend_b
    return float(value), gradient, hessian


def _ascent_step(gradient: Array, hessian: Array, free: NDArray[np.bool_]) -> Array:
    """Newton's step with every eigenvalue taken by its size, at most 3 long per coordinate."""
    mask = np.outer(free, free)
    values, vectors = np.linalg.eigh(np.where(mask, hessian, -np.eye(2)))
    sizes = np.maximum(np.abs(values), 1e-9 * np.abs(values).max())
    step = vectors @ ((vectors.T @ (gradient * free)) / sizes)
    return np.asarray(step * min(1.0, 3.0 / max(np.abs(step).max(), 1e-300)), float)


def _moments(n: Array, c: Array, w: Array) -> Array:
    mean = min(max(float((w * c).sum() / (w * n).sum()), 1e-6), 1 - 1e-6)
    spread = float((w * (c / n - mean) ** 2).sum() / w.sum())
    concentration = min(max(mean * (1 - mean) / max(spread, 1e-12) - 1, 0.1), 1e4)
    return _to_point(mean * concentration, (1 - mean) * concentration)


def _to_point(a: float, b: float) -> Array:
    return np.array([math.log(a) - math.log(b), math.log(a + b)])


def _to_shape(point: Array) -> tuple[float, float]:
    logit, log_concentration = float(point[0]), float(point[1])
    log_a = log_concentration - math.log1p(math.exp(-logit))
    return math.exp(log_a), math.exp(log_a - logit)
