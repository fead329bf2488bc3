"""Differences of log-gamma and digamma, accurate where subtracting two of them is not.

    log_gamma_ratio(x, d)   = ln G(x + d) - ln G(x)
    log_beta_ratio(a, b, k) = ln B(a, b + k) - ln B(a, b)
    polygamma differences   = psi(x + d) - psi(x) and psi'(x + d) - psi'(x)

Subtracting library values of betaln loses all digits for small a or large b. Here the recurrence
G(x + 1) = x G(x) lifts the argument to at least 10, the lifted factors meeting in one log1p, and
Stirling's series is subtracted term by term. Only numpy, so that a plan starts without scipy.

Shapes: every argument broadcasts; x, a, b > 0 and d, k >= 0, all real.
Source: Abramowitz and Stegun, 6.1.15, 6.1.40, 6.3.18, 6.4.12.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LIFT = 10  # the series below is exact to 1e-17 from here on
# B_2m / (2m (2m - 1)) for m = 1..7: ln G(x) ends in the sum of these over x^(2m - 1)
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def log_gamma_ratio(x: ArrayLike, d: ArrayLike) -> Array:
    x, d = np.asarray(x, float), np.asarray(d, float)
    lifted = _log_product(d / (x + j) for j in range(LIFT))
    x = x + LIFT
    leading: Array = (x - 0.5) * np.log1p(d / x) + d * (np.log(x + d) - 1)
    return leading + _series(x + d, 0) - _series(x, 0) - lifted


def log_beta_ratio(a: ArrayLike, b: ArrayLike, k: ArrayLike) -> Array:
    """ln B(a, b + k) / B(a, b), the log-probability that k Beta(a, b) samples all fail."""
    a, b, k = np.asarray(a, float), np.asarray(b, float), np.asarray(k, float)
    lifted = _log_product(a * k / ((b + j) * (b + j + a + k)) for j in range(LIFT))
    b = b + LIFT
    leading: Array = (
        (b - 0.5) * np.log1p(a * k / (b * (b + a + k)))
        - k * np.log1p(a / (b + k))
        - a * np.log1p(k / (a + b))
    )
    return leading + _series_drop(b + k, a) - _series_drop(b, a) - lifted


def digamma_difference(x: ArrayLike, d: ArrayLike) -> Array:
    x, d = np.asarray(x, float), np.asarray(d, float)
    lifted = _sum(d / ((x + j) * (x + j + d)) for j in range(LIFT))
    x = x + LIFT
    leading: Array = np.log1p(d / x) + d / (2 * x * (x + d))
    return lifted + leading + _series(x + d, 1) - _series(x, 1)


def trigamma_difference(x: ArrayLike, d: ArrayLike) -> Array:
    x, d = np.asarray(x, float), np.asarray(d, float)
    lifted = _sum(_inverse_square_drop(x + j, d) for j in range(LIFT))
    x = x + LIFT
    leading: Array = d / (x * (x + d)) + _inverse_square_drop(x, d) / 2
    return _series(x + d, 2) - _series(x, 2) - lifted - leading


def _sum(terms: Iterable[Array]) -> Array:
    total = np.zeros(())
    for term in terms:
        total = total + term
    return total


def _log_product(parts: Iterable[Array]) -> Array:
    """ln of the product of 1 + z over parts z >= 0: small parts keep their digits."""
    total = np.zeros(())
    for z in parts:
        total = total + z + total * z
    return np.asarray(np.log1p(total), float)


def _series(x: Array, order: int) -> Array:
    """Stirling's tail of ln G at x, or its first or second derivative."""
    inverse = 1 / x
    square = inverse * inverse
    total = np.zeros(())
    for m in reversed(range(len(STIRLING))):
        power = 2 * m + 1
        factor = (1, -power, power * (power + 1))[order]
        total = total * square + factor * STIRLING[m]
    for _ in range(order + 1):
        total = total * inverse
    return total


def _series_drop(x: Array, a: Array) -> Array:
    """Stirling's tail at x minus that at x + a, with a factored out so a small a keeps its digits.

    A polynomial P(u) = sum of c u^j has (P(u) - P(v)) / (u - v) by Horner's rule in both.
    """
    u, v = 1 / x, 1 / (x + a)
    value, divided = np.zeros(()), np.zeros(())
    for coefficient in reversed([c for odd in STIRLING for c in (0.0, odd)]):
        divided = divided * v + value
        value = value * u + coefficient
    return divided * (a * u * v)


def _inverse_square_drop(x: Array, d: Array) -> Array:
    """1 / x^2 - 1 / (x + d)^2."""
    return d * (2 * x + d) / (x * (x + d)) ** 2
