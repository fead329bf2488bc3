"""Against 50-digit arithmetic: the differences keep full relative accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mp, mpf

from t2engine.laws.gamma import (
    digamma_difference,
    log_beta_ratio,
    log_gamma_ratio,
    trigamma_difference,
)

mp.dps = 50
CASES = 150


def draws(seed: int) -> np.ndarray:
    """Triples (a, b, k) over fourteen, fifteen and eight decades."""
    rng = np.random.default_rng(seed)
    exponents = rng.uniform([-8, -6, -3], [6, 9, 5], size=(CASES, 3))
    return 10.0**exponents


def relative(got: float, want: mpf) -> float:
    return abs(float((mpf(got) - want) / want))


@pytest.mark.parametrize(("a", "b", "k"), draws(0))
def test_log_beta_ratio(a: float, b: float, k: float) -> None:
    A, B, K = mpf(a), mpf(b), mpf(k)
    want = mp.loggamma(B + K) + mp.loggamma(A + B) - mp.loggamma(B) - mp.loggamma(A + B + K)
    assert relative(float(log_beta_ratio(a, b, k)), want) < 1e-14


@pytest.mark.parametrize(("a", "b", "k"), draws(1)[:50])
def test_polygamma_differences(a: float, b: float, k: float) -> None:
    x, d = mpf(b), mpf(k)
    assert relative(float(digamma_difference(b, k)), mp.digamma(x + d) - mp.digamma(x)) < 1e-13
    want = mp.polygamma(1, x + d) - mp.polygamma(1, x)
    assert relative(float(trigamma_difference(b, k)), want) < 1e-13
    want = mp.loggamma(x + mpf(a)) - mp.loggamma(x)
    assert abs(float(mpf(float(log_gamma_ratio(b, a))) - want)) < 1e-13 * (1 + abs(float(want)))


def test_whole_steps_are_sums_of_logarithms() -> None:
    """G(x + 1) = x G(x), so a whole difference is a finite sum."""
    x = np.array([0.3, 4.0, 1e5])
    assert np.allclose(
        log_gamma_ratio(x, 5), sum(np.log(x + j) for j in range(5)), rtol=1e-14, atol=0
    )
    assert np.allclose(digamma_difference(x, 5), sum(1 / (x + j) for j in range(5)), rtol=1e-14)


def test_no_step_is_no_difference() -> None:
    for function in (log_gamma_ratio, digamma_difference, trigamma_difference):
        assert float(function(2.5, 0.0)) == 0.0
    assert float(log_beta_ratio(1e-3, 7.0, 0.0)) == 0.0
