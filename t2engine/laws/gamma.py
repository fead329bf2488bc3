"""Differences of log-gamma and digamma, accurate where subtracting two of them is not.

    log_gamma_ratio(x, d)   = ln G(x + d) - ln G(x)
    log_beta_ratio(a, b, k) = ln B(a, b + k) - ln B(a, b)
    polygamma differences   = psi(x + d) - psi(x) and psi'(x + d) - psi'(x)

Subtracting library values of betaln loses all digits for small a or large b. Here the recurrence
G(x + 1) = x G(x) lifts the argument to at least 10, each lifted term entering through log1p, and
Stirling's series is subtracted term by term. Only numpy, so that a plan starts without scipy.

Shapes: every argument broadcasts; x, a, b > 0 and d, k >= 0, all real.
Source: Abramowitz and Stegun, 6.1.15, 6.1.40, 6.3.18, 6.4.12.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LIFT = 10  # the series below is exact to 1e-17 from here on
# B_2m / (2m (2m - 1)) for m = 1..7: ln G(x) ends in the sum of these over x^(2m - 1)
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def log_gamma_ratio(x: ArrayLike, d: ArrayLike) -> Array:
    x, d = np.asarray(x, float), np.asarray(d, float)
    lifted = sum(np.log1p(d / (x + j)) for j in range(LIFT))
    x = x + LIFT
    series = sum(c * ((x + d) ** -(2 * m + 1) - x ** -(2 * m + 1)) for m, c in enumerate(STIRLING))
    return (x - 0.5) * np.log1p(d / x) + d * (np.log(x + d) - 1) + series - lifted


def log_beta_ratio(a: ArrayLike, b: ArrayLike, k: ArrayLike) -> Array:
    """ln B(a, b + k) / B(a, b), the log-probability that k Beta(a, b) samples all fail."""
    a, b, k = np.asarray(a, float), np.asarray(b, float), np.asarray(k, float)
    lifted = sum(_log_cross_ratio(a, b + j, k) for j in range(LIFT))
    b = b + LIFT
    stirling = (
        -(b - 0.5) * np.log1p(-a * k / ((b + k) * (b + a)))
        - k * np.log1p(a / (b + k))
        - a * np.log1p(k / (a + b))
    )
    series = sum(
        c * (_power_drop(b, a, 2 * m + 1) - _power_drop(b + k, a, 2 * m + 1))
        for m, c in enumerate(STIRLING)
    )
    return lifted + stirling - series


def digamma_difference(x: ArrayLike, d: ArrayLike) -> Array:
    x, d = np.asarray(x, float), np.asarray(d, float)
    lifted = sum(d / ((x + j) * (x + j + d)) for j in range(LIFT))
    x = x + LIFT
    series = sum(
        (2 * m + 1) * c * (x ** -(2 * m + 2) - (x + d) ** -(2 * m + 2))
        for m, c in enumerate(STIRLING)
    )
    return lifted + np.log1p(d / x) + d / (2 * x * (x + d)) + series


def trigamma_difference(x: ArrayLike, d: ArrayLike) -> Array:
    x, d = np.asarray(x, float), np.asarray(d, float)
    lifted = sum((x + j + d) ** -2 - (x + j) ** -2 for j in range(LIFT))
    x = x + LIFT
    series = sum(
        (2 * m + 1) * (2 * m + 2) * c * ((x + d) ** -(2 * m + 3) - x ** -(2 * m + 3))
        for m, c in enumerate(STIRLING)
    )
    leading = -d / (x * (x + d)) + ((x + d) ** -2 - x**-2) / 2
    return lifted + leading + series


def _log_cross_ratio(a: Array, b: Array, k: Array) -> Array:
    """ln of b (a + b + k) / ((b + k) (b + a)), which is 1 - a k / ((b + k) (b + a))."""
    away = a * k / ((b + k) * (b + a))
    small = np.log1p(-np.minimum(away, 0.5))
    large = np.log(b / (b + a)) + np.log1p(a / (b + k))
    return np.where(away < 0.5, small, large)


def _power_drop(x: Array, a: Array, power: int) -> Array:
    """x^-p - (x + a)^-p with the factor a taken out, so that a small a keeps its digits."""
    ratio = x / (x + a)
    geometric = sum(ratio**j for j in range(power))
    return a / (x + a) * x ** -float(power) * geometric
