from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from t2engine.laws.passk import (
    beta_pass_at_k,
    estimate_pass_at_k,
    nll_of_pass_at_k,
    posterior_pass_at_k,
    unbiased_pass_at_k,
)
from tests.laws.ladder import column, public_table


@pytest.mark.parametrize(
    ("mean", "concentration", "k", "want"),
    [
        (0.1, 5, 2, 0.175),
        (0.1, 5, 27.027027, 0.631067155208),
        (0.1, 5, 100, 0.797917673668),
        (0.1, 5, 1e4, 0.97937116411),
        (0.01, 100, 27.027027, 0.214454214025),
        (0.01, 100, 1e4, 0.990197049213),
        (0.001, 50, 100, 0.0537820328773),
    ],
)
def test_beta_reference_values(mean: float, concentration: float, k: float, want: float) -> None:
    a, b = mean * concentration, (1 - mean) * concentration
    assert float(beta_pass_at_k(a, b, k)) == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize(("nll", "k", "want"), [(5, 27, 1.79066679425), (15, 27, 11.7041671107)])
def test_nll_reference_values(nll: float, k: float, want: float) -> None:
    assert float(nll_of_pass_at_k(nll, k)) == pytest.approx(want, abs=1e-9)


def test_nll_of_a_chance_too_small_for_a_float() -> None:
    assert float(nll_of_pass_at_k(800, 50)) == 800 - math.log(50)
    assert float(nll_of_pass_at_k(0, 3)) == 0
    around = nll_of_pass_at_k([700 - 1e-9, 700 + 1e-9], 50)
    assert around[1] - around[0] == pytest.approx(2e-9, abs=1e-12)
    with pytest.raises(ValueError, match="nll must be >= 0"):
        nll_of_pass_at_k(-1, 3)


@pytest.mark.parametrize(("k", "want"), [(1, 0.3), (2, 8 / 15), (5, 11 / 12), (8, 1.0)])
def test_unbiased_reference_values(k: int, want: float) -> None:
    assert float(unbiased_pass_at_k(10, 3, k)) == pytest.approx(want, abs=1e-12)


def test_unbiased_is_the_ratio_of_binomials_exactly() -> None:
    for n in (1, 2, 7, 30):
        for c in range(n + 1):
            for k in range(1, n + 1):
                want = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
                assert float(unbiased_pass_at_k(n, c, k)) == pytest.approx(float(want), rel=1e-13)


def test_unbiased_keeps_its_digits_at_millions_of_samples() -> None:
    """One success in n: exactly k / n."""
    assert float(unbiased_pass_at_k(3_700_000, 1, 1000)) == pytest.approx(1000 / 3.7e6, rel=1e-12)


def test_more_draws_than_samples_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pass@11 needs num_samples >= 11, question 1 has 10"):
        unbiased_pass_at_k([20, 10], [3, 3], 11)
    with pytest.raises(ValueError, match="whole number"):
        unbiased_pass_at_k(10, 3, 0)


@pytest.mark.parametrize(("n", "c"), [(0, 0), (5, 6), (5, -1), (math.nan, 0), (5, math.nan)])
def test_impossible_counts_are_refused(n: float, c: float) -> None:
    with pytest.raises(ValueError, match=r"num_samples|num_correct"):
        unbiased_pass_at_k(n, c, 1)


def test_unbiased_estimator_is_unbiased() -> None:
    """Averaged over the binomial distribution of c it equals 1 - (1 - p)^k."""
    p, n, k = 0.13, 12, 5
    chance = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    mean = chance @ unbiased_pass_at_k(n, np.arange(n + 1), k)
    assert mean == pytest.approx(1 - (1 - p) ** k, rel=1e-12)


def test_posterior_rises_with_k_and_is_never_certain() -> None:
    values = posterior_pass_at_k(64, 0, np.array([1.0, 10.0, 1e3, 1e9]), 0.2, 3.0)
    assert np.all(np.diff(values) > 0)
    assert np.all((values > 0) & (values < 1))
    a = 0.2 / (0.2 + 3.0 + 64)
    assert float(values[0]) == pytest.approx(a, rel=1e-12)  # k = 1 is the posterior mean


@pytest.mark.parametrize(
    ("model", "want"), [("12B_300B", 0.51684), ("410M_300B", 0.40337), ("1.4B_60B", 0.45388)]
)
def test_empirical_bayes_on_pythia(model: str, want: float) -> None:
    rows = [r for r in public_table("pythia_gsm8k_counts.csv") if r["model"] == f"Pythia_{model}"]
    n, c = column(rows, "num_samples"), column(rows, "num_correct")
    found = estimate_pass_at_k(n, c, 100, method="beta", num_resamples=20)
    assert found.mean == pytest.approx(want, abs=1e-4)
    assert found.low < found.mean < found.high


def test_interval_covers_the_truth() -> None:
    """95 % intervals over 200 simulated sets of 100 questions: 90 to 99 % hold the mean."""
    rng = np.random.default_rng(5)
    truth = float(beta_pass_at_k(0.3, 2.0, 4))
    held = 0
    for seed in range(200):
        c = rng.binomial(16, rng.beta(0.3, 2.0, size=100))
        found = estimate_pass_at_k(np.full(100, 16), c, 4, num_resamples=300, seed=seed)
        held += found.low <= truth <= found.high
    assert 180 <= held <= 198


def test_interval_of_unanimous_questions_is_not_a_point() -> None:
    none = estimate_pass_at_k([8] * 50, [0] * 50, 4)
    every = estimate_pass_at_k([8] * 50, [8] * 50, 4)
    assert (none.mean, none.low) == (0.0, 0.0)
    assert (every.mean, every.high) == (1.0, 1.0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 50))
    assert every.low == pytest.approx(0.025 ** (1 / 50))


def test_estimate_is_reproducible_and_symmetric_in_questions() -> None:
    n, c = np.full(30, 8), np.arange(30) % 9
    first = estimate_pass_at_k(n, c, 4)
    assert first == estimate_pass_at_k(n, c, 4)
    assert first.mean == pytest.approx(estimate_pass_at_k(n, c[::-1], 4).mean, rel=1e-14)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match="method must be"):
        estimate_pass_at_k([8], [1], 4, method="bayes")
    with pytest.raises(ValueError, match="level must lie"):
        estimate_pass_at_k([8], [1], 4, level=95)
    with pytest.raises(ValueError, match="one row per question"):
        estimate_pass_at_k([], [], 4)
