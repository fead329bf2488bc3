"""Samples drawn when sampling stops at the first success, or at k: a perfect verifier looks on.

    one p           E = (1 - (1 - p)^k) / p
    p ~ Beta(a, b)  E = (B(a - 1, b) - B(a - 1, b + k)) / B(a, b)
                    a = 1: b (psi(b + k) - psi(b))
    posterior       the same with a + c and b + n - c          c successes in n samples

For a < 1 the Beta form holds by continuation, and around a = 1 it is 0 / 0. With d = a - 1 and
m = k - 1, one recurrence in (b, k) and one step of G(x + 1) = x G(x) make it

    E = 1 + b / (a + b) (m / (b + k) + (b + 1) (a + b + m) / (b + k) (-expm1(l) / d))
    l = ln B(d, b + 2 + m) - ln B(d, b + 2)         d = 0: -l / d = psi(b + 2 + m) - psi(b + 2)

where every term is positive and every gamma function has a positive argument.

E is concave in k, with the slope

    dE/dk = B(a, b + k) / B(a, b) (b + k + d) (psi(b + k + d) - psi(b + k)) / d

Shapes: arguments broadcast; counts are [Q]. k >= 1 may be real.
Raises: ValueError for k below 1, p outside [0, 1], a or b not above 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.gamma import Array, digamma_difference, log_beta_ratio
from t2engine.laws.passk import check_counts

MAX_STEPS = 200  # Newton's, of which some 10 are made; where E nearly ends, each adds a share to k
STEP_TOLERANCE = 1e-11
CLOSE = 1 - 1e-14  # E there is as near as its rounding


def expected_samples(p: ArrayLike, k: ArrayLike) -> Array:
    """Of one question; k at p = 0."""
    p, k = check_probability("p", p), check_k(k)
    return samples_until(p, 1 - p, k)


def beta_expected_samples(a: ArrayLike, b: ArrayLike, k: ArrayLike) -> Array:
    """Mean over questions whose p is drawn from Beta(a, b)."""
    a, b, k = np.broadcast_arrays(*check_shape(a, b), check_k(k))
    d, m = a - 1, k - 1
    apart = np.where(d == 0, 1.0, d)
    slope = -np.expm1(log_beta_ratio(apart, b + 2, m)) / apart
    slope = np.where(d == 0, digamma_difference(b + 2, m), slope)
    rest = (m + (b + 1) * (a + b + m) * slope) / (b + k)
    return np.asarray(1 + b / (a + b) * rest, float)


def beta_samples_slope(a: Array, b: Array, k: Array) -> Array:
    """Of `beta_expected_samples` over k, to some 1e-6."""
    d, x = a - 1, b + k
    d = np.where(np.abs(d) < 1e-6, 1e-6, d)
    apart = digamma_difference(x + np.minimum(d, 0), np.abs(d)) / np.abs(d)
    return np.asarray(np.exp(log_beta_ratio(a, b, k)) * (x + d) * apart, float)


def samples_for_expected(
    drawn: Callable[[Array], tuple[Array, Array]], expected: Array, most: Array
) -> Array:
    """The k in [1, most] whose expected samples are `expected`; `most` where none draws so many.

    `drawn` gives the expected samples at k and their slope. It is concave and at most k, so that
    Newton's method from k = expected climbs to the root without passing it.
    """
    k = np.minimum(expected, most)
    enough = drawn(most)[0] <= expected
    for _ in range(MAX_STEPS):
        at, slope = drawn(k)
        step = (expected - at) / np.maximum(slope, np.finfo(float).tiny)
        step = np.where(enough | (at >= expected * CLOSE), 0.0, step)
        k = np.minimum(k + step, most)
        if np.all(step <= STEP_TOLERANCE * k):
            break
    return np.where(enough, most, k)


def posterior_expected_samples(
    num_samples: ArrayLike, num_correct: ArrayLike, k: ArrayLike, a: float, b: float
) -> Array:
    """Posterior mean for a question of known counts under the prior Beta(a, b)."""
    n, c = check_counts(num_samples, num_correct)
    return beta_expected_samples(a + c, b + n - c, k)


def samples_until(stop: Array, go_on: Array, k: Array) -> Array:
    """(1 - go_on^k) / stop for stop + go_on = 1, to full precision at both ends; k at stop = 0."""
    tiny = np.finfo(float).tiny
    small = stop < 0.5
    log_go_on = np.where(small, np.log1p(-np.minimum(stop, 0.5)), np.log(np.maximum(go_on, tiny)))
    drawn = -np.expm1(k * log_go_on) / np.maximum(stop, tiny)
    # Below this stop is a subnormal number: k stop has rounded, and the limit has not.
    return np.asarray(np.where(stop > tiny, drawn, k), float)


def check_k(k: ArrayLike) -> Array:
    k = np.asarray(k, float)
    if not np.all((k >= 1) & np.isfinite(k)):
        raise ValueError(f"k must be at least 1 sample and finite, got {_first_bad(k, k >= 1):g}")
    return k


def check_shape(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(a, float), np.asarray(b, float)
    for name, value in (("a", a), ("b", b)):
        if not np.all((value > 0) & np.isfinite(value)):
            bad = _first_bad(value, value > 0)
            raise ValueError(f"{name} of Beta(a, b) must be above 0 and finite, got {bad:g}")
    return a, b


def check_probability(name: str, value: ArrayLike) -> Array:
    value = np.asarray(value, float)
    good = (value >= 0) & (value <= 1)
    if not np.all(good):
        raise ValueError(f"{name} must lie in [0, 1], got {_first_bad(value, good):g}")
    return value


def _first_bad(values: Array, good: ArrayLike) -> float:
    return float(values[~(np.asarray(good) & np.isfinite(values))].flat[0])
