from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import roots_jacobi

from t2engine.laws.early_stopping import beta_expected_samples, expected_samples
from t2engine.laws.passk import beta_pass_at_k
from t2engine.laws.verifier import Verified, Verifier

rates = st.floats(0, 1)
shapes = st.floats(-5, 5).map(lambda x: float(10**x))


def gauss_jacobi(verifier: Verifier, a: float, b: float, k: int) -> tuple[float, float]:
    """Both means by a rule that is exact for polynomials of degree k, which both are."""
    x, weight = roots_jacobi(k // 2 + 1, b - 1, a - 1)
    outcome = verifier.at((1 + x) / 2, k)
    weight = weight / weight.sum()
    return float(weight @ outcome.success), float(weight @ outcome.samples)


def summed(verifier: Verifier, a: float, b: float, k: int) -> tuple[float, float]:
    """Both means as sums over runs of i right and j wrong samples, all rejected; exactly."""
    t, f = Fraction(verifier.true_positive_rate), Fraction(verifier.false_positive_rate)
    alpha, beta = Fraction(a), Fraction(b)
    success, samples = Fraction(0), Fraction(0)
    for i in range(k):
        chance = Fraction(1)  # of one such run in its order
        for x in range(i):
            chance *= (alpha + x) / (alpha + beta + x) * (1 - t)
        for j in range(k - i):
            runs = math.comb(i + j, i) * chance
            samples += runs
            success += runs * (alpha + i) / (alpha + beta + i + j) * t
            chance *= (beta + j) / (alpha + beta + i + j) * (1 - f)
    return float(success), float(samples)


def test_reference_values() -> None:
    found = Verifier(0.9, 0.1).at(0.08, 20)
    assert f"{found.success:.4f}" == "0.4268"
    assert f"{found.samples:.3f}" == "5.928"
    assert f"{Verifier().at(0.08, 20).success:.4f}" == "0.8113"


def test_is_what_simulated_sampling_gives() -> None:
    rng = np.random.default_rng(0)
    p, t, f, k, runs = 0.15, 0.8, 0.2, 6, 200_000
    right = rng.random((runs, k)) < p
    accepted = rng.random((runs, k)) < np.where(right, t, f)
    first = np.argmax(accepted, axis=1)
    returned = accepted.any(axis=1)
    success = (right[np.arange(runs), first] & returned).mean()
    samples = np.where(returned, first + 1, k).mean()
    found = Verifier(t, f).at(p, k)
    assert float(found.success) == pytest.approx(success, abs=4 * 0.5 / np.sqrt(runs))
    assert float(found.samples) == pytest.approx(samples, abs=4 * 2.5 / np.sqrt(runs))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(p=rates, k=st.floats(1, 1e6))
def test_a_perfect_verifier_is_pass_at_k(p: float, k: float) -> None:
    found = Verifier().at(p, k)
    want = -np.expm1(k * np.log1p(-min(p, 1 - 1e-16)))
    assert float(found.success) == pytest.approx(want, rel=1e-9, abs=1e-300)
    assert float(found.samples) == float(expected_samples(p, k))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(a=shapes, b=shapes, k=st.floats(1, 1e6))
def test_a_perfect_verifier_is_beta_pass_at_k(a: float, b: float, k: float) -> None:
    found = Verifier().beta(a, b, k)
    assert float(found.success) == pytest.approx(float(beta_pass_at_k(a, b, k)), rel=1e-12)
    assert float(found.samples) == pytest.approx(float(beta_expected_samples(a, b, k)), rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b"), [(0.3, 5.0), (1e-3, 0.02), (1.0, 1.0), (2.0, 0.1), (30.0, 9.0)]
)
@pytest.mark.parametrize(("t", "f"), [(0.9, 0.1), (0.7, 0.0), (1.0, 0.02), (0.3, 0.6)])
@pytest.mark.parametrize("k", [1, 2, 12])
def test_beta_mean_is_the_exact_sum(a: float, b: float, t: float, f: float, k: int) -> None:
    found = Verifier(t, f).beta(a, b, k)
    success, samples = summed(Verifier(t, f), a, b, k)
    assert float(found.success) == pytest.approx(success, rel=1e-12)
    assert float(found.samples) == pytest.approx(samples, rel=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0.6, 5.0), (1.0, 1.0), (2.0, 40.0), (30.0, 20.0)])
@pytest.mark.parametrize(("t", "f"), [(0.9, 0.1), (0.7, 0.0), (1.0, 0.02), (0.3, 0.6)])
def test_beta_mean_is_gauss_and_jacobis(a: float, b: float, t: float, f: float) -> None:
    found = Verifier(t, f).beta(a, b, 150)
    success, samples = gauss_jacobi(Verifier(t, f), a, b, 150)
    assert float(found.success) == pytest.approx(success, rel=1e-11)
    assert float(found.samples) == pytest.approx(samples, rel=1e-11)


def test_equal_questions_are_one_question() -> None:
    verifier, size = Verifier(0.9, 0.1), 1e12
    many, one = verifier.beta(0.08 * size, 0.92 * size, 20), verifier.at(0.08, 20)
    assert float(many.success) == pytest.approx(float(one.success), rel=1e-9)
    assert float(many.samples) == pytest.approx(float(one.samples), rel=1e-9)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(t=rates, f=rates, p=rates, k=st.floats(1, 1e5))
def test_laws_of_one_question(t: float, f: float, p: float, k: float) -> None:
    verifier = Verifier(t, f)
    now, later = verifier.at(p, k), verifier.at(p, 2 * k)
    slack = 1e-9
    assert now.success <= later.success * (1 + slack) + slack
    assert now.samples <= later.samples * (1 + slack)
    assert 1 - slack <= now.samples <= k * (1 + slack)
    assert now.success <= float(verifier.precision(p)) + slack
    assert now.success <= float(Verifier().at(p, k).success) + slack


def test_limits_in_k() -> None:
    verifier = Verifier(0.9, 0.1)
    one, endless = verifier.at(0.08, 1), verifier.at(0.08, 1e6)
    assert float(one.success) == pytest.approx(0.072)
    assert float(one.samples) == pytest.approx(1)
    accepted = 0.08 * 0.9 + 0.92 * 0.1
    assert float(endless.success) == pytest.approx(float(verifier.precision(0.08)), rel=1e-14)
    assert float(endless.success) == pytest.approx(0.072 / accepted, rel=1e-14)
    assert float(endless.samples) == pytest.approx(1 / accepted, rel=1e-14)


def test_nothing_accepted_draws_every_sample_and_is_never_right() -> None:
    never, blank = Verifier(0.0, 0.0), Verifier(0.9, 0.0)
    assert outcome(never.at([0.0, 0.5, 1.0], 7)) == [(0, 7), (0, 7), (0, 7)]
    assert outcome(blank.at([0.0], 7)) == [(0, 7)]
    assert outcome(never.beta([0.3], 2.0, 7)) == [(0, pytest.approx(7, rel=1e-12))]
    assert float(never.precision(0.5)) == 0


def test_everything_accepted_is_one_sample() -> None:
    found = Verifier(1.0, 1.0).beta([0.3, 5.0], [2.0, 0.01], 50)
    assert found.samples == pytest.approx([1, 1], rel=1e-12)
    assert found.success == pytest.approx([0.3 / 2.3, 5 / 5.01], rel=1e-12)


def test_a_verifier_that_knows_nothing_returns_a_random_sample_if_it_returns_any() -> None:
    found = Verifier(0.2, 0.2).beta(0.3, 2.0, 10)
    assert float(found.success) == pytest.approx(0.3 / 2.3 * (1 - 0.8**10), rel=1e-12)
    assert float(found.samples) == pytest.approx((1 - 0.8**10) / 0.2, rel=1e-12)


def test_posterior_updates_the_prior() -> None:
    verifier = Verifier(0.9, 0.1)
    found = verifier.posterior([16, 16, 64], [0, 16, 3], 100, 0.4, 2.0)
    want = verifier.beta([0.4, 16.4, 3.4], [18.0, 2.0, 63.0], 100)
    assert outcome(found) == outcome(want)
    assert found.success[0] < found.success[2] < found.success[1]


def test_impossible_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"true_positive_rate must lie in \[0, 1\], got 1.1"):
        Verifier(1.1, 0.0)
    with pytest.raises(ValueError, match=r"false_positive_rate must lie in \[0, 1\], got nan"):
        Verifier(1.0, float("nan"))
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\], got -0.1"):
        Verifier().at([0.5, -0.1], 3)
    with pytest.raises(ValueError, match="k must be at least 1"):
        Verifier().beta(1, 1, 0)
    with pytest.raises(ValueError, match=r"a of Beta\(a, b\) must be above 0"):
        Verifier().beta(-1, 1, 3)


def outcome(found: Verified) -> list[tuple[float, float]]:
    return list(zip(found.success.tolist(), found.samples.tolist(), strict=True))
