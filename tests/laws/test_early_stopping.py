from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from t2engine.laws.early_stopping import (
    beta_expected_samples,
    expected_samples,
    posterior_expected_samples,
)
from t2engine.laws.passk import beta_pass_at_k

shapes = st.floats(-6, 6).map(lambda x: float(10**x))


def summed(a: float, b: float, k: int) -> float:
    """sum_j<k P(the first j samples fail), exactly."""
    alpha, beta = Fraction(a), Fraction(b)
    total, failing = Fraction(0), Fraction(1)
    for j in range(k):
        total += failing
        failing *= (beta + j) / (alpha + beta + j)
    return float(total)


@pytest.mark.parametrize(
    ("a", "b", "k", "want"),
    [(0.3, 5, 50, "30.91546"), (2, 7, 20, "5.925926"), (0.9, 3, 1000, "23.88070")],
)
def test_reference_values(a: float, b: float, k: int, want: str) -> None:
    found = float(beta_expected_samples(a, b, k))
    assert f"{found:.{len(want.split('.')[1])}f}" == want


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=shapes, b=shapes, k=st.integers(1, 40))
def test_equals_the_exact_sum(a: float, b: float, k: int) -> None:
    assert float(beta_expected_samples(a, b, k)) == pytest.approx(summed(a, b, k), rel=1e-13)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(away=st.floats(-16, -0.5), above=st.booleans(), b=shapes, k=st.integers(1, 40))
def test_no_digit_is_lost_around_a_of_one(away: float, above: bool, b: float, k: int) -> None:
    a = 1 + (10**away if above else -(10**away))
    assert float(beta_expected_samples(a, b, k)) == pytest.approx(summed(a, b, k), rel=1e-13)


@pytest.mark.parametrize(("a", "b"), [(1e-7, 1e-7), (0.01, 1e7), (1.0, 3.0), (40.0, 1e5)])
def test_equals_the_sum_over_many_samples(a: float, b: float) -> None:
    k = 300_000
    j = np.arange(k, dtype=np.longdouble)
    failing = np.cumprod((b + j[:-1]) / (np.longdouble(a) + b + j[:-1]))
    assert float(beta_expected_samples(a, b, k)) == pytest.approx(
        1 + float(failing.sum()), rel=1e-12
    )


@pytest.mark.parametrize(("a", "b", "k"), [(0.4, 3.0, 7.5), (1.0, 20.0, 1234.5), (3.0, 0.7, 2.25)])
def test_is_the_integral_over_p_for_real_k(a: float, b: float, k: float) -> None:
    def weighted(u: float) -> float:
        """The integrand over the log-odds of p, without B(a, b)."""
        p, log_p, log_wrong = 1 / (1 + np.exp(-u)), -np.logaddexp(0, -u), -np.logaddexp(0, u)
        return float(-np.expm1(k * log_wrong) / p * np.exp(a * log_p + b * log_wrong))

    def density(u: float) -> float:
        return float(np.exp(-a * np.logaddexp(0, -u) - b * np.logaddexp(0, u)))

    limits = {"a": -90.0, "b": 60.0, "limit": 400, "epsabs": 0.0, "epsrel": 1e-12}
    want = quad(weighted, **limits)[0] / quad(density, **limits)[0]
    assert float(beta_expected_samples(a, b, k)) == pytest.approx(want, rel=1e-10)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=shapes, b=shapes, k=st.floats(1, 1e6))
def test_lies_between_one_and_k_and_rises_with_k(a: float, b: float, k: float) -> None:
    low, high = beta_expected_samples(a, b, [k, 1.01 * k])
    assert 1 - 1e-12 <= low <= k * (1 + 1e-12)
    assert high >= low * (1 - 1e-12)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=shapes, b=shapes, k=st.integers(1, 10_000))
def test_one_more_sample_is_drawn_when_all_before_failed(a: float, b: float, k: int) -> None:
    now, then = beta_expected_samples(a, b, [k, k + 1])
    assert then - now == pytest.approx(1 - float(beta_pass_at_k(a, b, k)), abs=1e-12 * then)


def test_one_sample_is_one_and_endless_sampling_has_its_mean() -> None:
    assert float(beta_expected_samples(0.2, 9.0, 1)) == 1
    assert float(expected_samples(0.3, 1)) == pytest.approx(1, rel=1e-15)
    # E[1 / p] = (a + b - 1) / (a - 1)
    assert float(beta_expected_samples(5.0, 8.0, 1e9)) == pytest.approx(3, rel=1e-12)


def test_one_question_is_a_truncated_geometric() -> None:
    assert expected_samples([0.0, 1.0, 0.25], 3).tolist() == [3, 1, 1 + 0.75 + 0.75**2]
    assert float(expected_samples(1e-300, 1e5)) == pytest.approx(1e5)
    assert float(expected_samples(5e-324, 7)) == 7
    assert float(expected_samples(1e-18, 1e18)) == pytest.approx(1e18 * -np.expm1(-1), rel=1e-12)


def test_equal_questions_are_one_question() -> None:
    size = 1e12
    found = beta_expected_samples(0.2 * size, 0.8 * size, 30)
    assert float(found) == pytest.approx(float(expected_samples(0.2, 30)), rel=1e-10)


def test_posterior_updates_the_prior() -> None:
    found = posterior_expected_samples([16, 16, 64], [0, 16, 3], 100, 0.4, 2.0)
    assert (
        found.tolist() == beta_expected_samples([0.4, 16.4, 3.4], [18.0, 2.0, 63.0], 100).tolist()
    )
    assert found[0] > found[2] > found[1]


def test_impossible_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"k must be at least 1 sample and finite, got 0.5"):
        beta_expected_samples(1, 1, [3, 0.5])
    with pytest.raises(ValueError, match=r"k must be at least 1 sample and finite, got inf"):
        expected_samples(0.5, np.inf)
    with pytest.raises(ValueError, match=r"a of Beta\(a, b\) must be above 0 and finite, got 0"):
        beta_expected_samples(0, 1, 3)
    with pytest.raises(ValueError, match=r"b of Beta\(a, b\) must be above 0 and finite, got nan"):
        beta_expected_samples(1, np.nan, 3)
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\], got 1.5"):
        expected_samples(1.5, 3)
    with pytest.raises(ValueError, match="num_correct must lie"):
        posterior_expected_samples(4, 5, 3, 1, 1)
