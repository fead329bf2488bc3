"""The law of a verified answer against scipy's integrals, simulation and its own limits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betaln, expit

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.approach2 import Approach2Law
from t2engine.laws.beta_mean import EXACT, QUICK, beta_nodes
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.early_stopping import beta_expected_samples, beta_samples_slope
from t2engine.laws.law_file import read_shipped_law
from t2engine.laws.repeated import RepeatedData
from t2engine.laws.verified import VerifiedLaw
from t2engine.laws.verifier import VerifiedMeans, Verifier
from tests.laws.planted import TRUTH

TWO = Approach2Law(ChinchillaLaw(0.6, 60.0, 0.35, 600.0, 0.42), 2.0, 1.6, 1.0, 1.2, -0.1)
ONE = Approach1Law(E=0.01, A=478.0, alpha=0.35, B=2143.0, beta=0.37, G=1.0, gamma=0.3)
VERIFIERS = [Verifier(*x) for x in ((0.9, 0.1), (0.7, 0.0), (1.0, 1e-3), (0.3, 0.6))]
N, D, K = np.array([1e4, 3e5, 1e7]), np.array([1e7, 1e9, 1e8]), np.array([1.0, 25.5, 3000.0])


def integral(verifier: Verifier, a: float, b: float, k: float) -> tuple[float, float]:
    """Success and samples by scipy, over the log-odds of p."""

    def outcome(u: float, name: str) -> float:
        density = np.exp(-a * np.logaddexp(0, -u) - b * np.logaddexp(0, u) - betaln(a, b))
        return float(density * getattr(verifier.at(expit(u), k), name))

    middle = float(np.log(a / b))
    cuts = [middle - 100 / min(a, 1), middle - 10, middle, middle + 10, middle + 100 / min(b, 1)]
    found = []
    for name in ("success", "samples"):
        ends = pairwise(cuts)
        found.append(sum(quad(outcome, *x, args=(name,), epsrel=1e-9, limit=200)[0] for x in ends))
    return found[0], found[1]


@pytest.mark.parametrize("verifier", VERIFIERS, ids=str)
def test_quick_means_are_the_exact_ones(verifier: Verifier) -> None:
    rng = np.random.default_rng(0)
    a, b, k = (10 ** rng.uniform(*ends, 200) for ends in ((-3, 2), (-1, 4), (0, 8)))
    quick, exact = (VerifiedMeans(verifier, beta_nodes(a, b, grid)) for grid in (QUICK, EXACT))
    assert quick.success(k) == pytest.approx(exact.success(k), rel=1e-8)
    assert quick.failure(k) == pytest.approx(1 - exact.success(k), rel=1e-8, abs=1e-13)
    assert quick.samples(k)[0] == pytest.approx(exact.samples(k)[0], rel=1e-8)


@pytest.mark.parametrize("verifier", VERIFIERS, ids=str)
@pytest.mark.parametrize("law", [TWO, TRUTH], ids=lambda law: law.name)
def test_success_and_samples_are_integrals_over_the_laws_beta(
    law: Approach2Law, verifier: Verifier
) -> None:
    judged = VerifiedLaw(law, verifier)
    success, samples = judged.pass_at_k(N, D, K), judged.expected_samples(N, D, K)
    a, b = law.spread_at(N, D)
    for i in range(K.size):
        want = integral(verifier, float(a[i]), float(b[i]), float(K[i]))
        assert (success[i], samples[i]) == pytest.approx(want, rel=1e-7)
    assert judged.merit(N, D, K) == pytest.approx(-np.log1p(-success), rel=1e-9)


def test_is_what_simulated_questions_give() -> None:
    verifier, k, runs = Verifier(0.8, 0.1), 12, 200_000
    judged = VerifiedLaw(TWO, verifier)
    a, b = TWO.spread_at(1e6, 1e8)
    rng = np.random.default_rng(1)
    right = rng.random((runs, k)) < rng.beta(float(a), float(b), runs)[:, None]
    accepted = rng.random((runs, k)) < np.where(right, 0.8, 0.1)
    first, returned = np.argmax(accepted, axis=1), accepted.any(axis=1)
    success = float((right[np.arange(runs), first] & returned).mean())
    drawn = np.where(returned, first + 1, k)
    assert 0.05 < success < 0.95
    error = 4 / np.sqrt(runs)
    assert float(judged.pass_at_k(1e6, 1e8, k)) == pytest.approx(success, abs=0.5 * error)
    expected = float(judged.expected_samples(1e6, 1e8, k))
    assert expected == pytest.approx(drawn.mean(), abs=drawn.std() * error)


@pytest.mark.parametrize("law", [TWO, TRUTH, read_shipped_law()], ids=lambda law: law.name)
def test_a_perfect_verifier_changes_nothing(law: Approach2Law) -> None:
    judged = VerifiedLaw(law)
    assert judged.pass_at_k(N, D, K).tolist() == law.pass_at_k(N, D, K).tolist()
    assert judged.merit(N, D, K).tolist() == law.merit(N, D, K).tolist()
    assert (judged.name, judged.fit, judged.training) == (law.name, law.fit, law.training)
    assert judged.enough_samples == np.inf


@pytest.mark.parametrize(("t", "f"), [(0.9, 0.0), (0.9, 1e-9)])
def test_merit_rises_where_success_has_rounded(t: float, f: float) -> None:
    judged = VerifiedLaw(TWO, Verifier(t, f))
    merit = judged.merit(1e9, 1e12, [1e2, 1e4, 1e6, 1e7])
    assert np.all(np.diff(merit) > 0)
    nearly = VerifiedLaw(TWO, Verifier(1 - 1e-13, 0.0))
    assert nearly.merit(N, D, K) == pytest.approx(TWO.merit(N, D, K), rel=1e-7)


@pytest.mark.parametrize("verifier", VERIFIERS, ids=str)
def test_more_samples_help_until_they_are_enough(verifier: Verifier) -> None:
    """First accepted is returned and none accepted is wrong: every further sample is a chance."""
    judged = VerifiedLaw(TWO, verifier)
    k = np.geomspace(1, min(judged.enough_samples, 1e6), 60)
    success = judged.pass_at_k(1e6, 1e8, k)
    assert np.all(np.diff(success) >= 0)
    assert np.isfinite(judged.enough_samples) == (verifier.false_positive_rate > 0)
    if verifier.false_positive_rate:
        more = float(judged.pass_at_k(1e6, 1e8, 1e3 * judged.enough_samples))
        assert success[-1] == pytest.approx(more, rel=1e-10)
        fewer = float(judged.pass_at_k(1e6, 1e8, 0.02 * judged.enough_samples))
        assert fewer < success[-1] * (1 - 1e-7)


@pytest.mark.parametrize("verifier", [Verifier(), *VERIFIERS], ids=str)
def test_expected_samples_are_inverted(verifier: Verifier) -> None:
    judged = VerifiedLaw(TWO, verifier)
    grid = np.meshgrid(np.geomspace(1e3, 1e10, 15), np.geomspace(1e5, 1e13, 15))
    k = np.geomspace(1, min(0.5 * judged.enough_samples, 1e7), 15)[:, None, None]
    expected = judged.expected_samples(*grid, k)
    back = judged.samples_for(*grid, expected, 1e9)
    assert judged.expected_samples(*grid, back) == pytest.approx(expected, rel=1e-12)
    early = k * np.ones_like(back) < 20  # beyond, E may have nearly ended: k is not to be told
    rare = early & (expected > 0.5 * k)
    assert np.sum(rare) > 20
    assert back[rare] == pytest.approx((k * np.ones_like(back))[rare], rel=1e-9)


@pytest.mark.parametrize("verifier", [Verifier(), *VERIFIERS], ids=str)
def test_what_no_number_of_samples_draws_gets_the_most(verifier: Verifier) -> None:
    judged = VerifiedLaw(TWO, verifier)
    ends = float(judged.expected_samples(1e10, 1e13, 1e3))
    found = judged.samples_for(1e10, 1e13, [0.4, 1.0, ends * 1.5, 1e5], 1e3)
    assert found.tolist() == [0.4, 1.0, 1e3, 1e3]


def test_slope_of_expected_samples_is_its_difference() -> None:
    a = np.array([1e-3, 0.3, 1.0, 1 + 1e-9, 2.0, 40.0])[:, None]
    b, k = np.array([0.1, 5.0, 5.0, 5.0, 70.0, 900.0])[:, None], np.array([1.5, 8.0, 300.0])
    step = 1e-4 * k
    rise = beta_expected_samples(a, b, k + step) - beta_expected_samples(a, b, k - step)
    slope = beta_samples_slope(*np.broadcast_arrays(a, b, k))
    assert slope == pytest.approx(rise / (2 * step), rel=2e-5, abs=1e-10)


def test_a_law_without_a_spread_is_refused() -> None:
    with pytest.raises(ValueError, match="approach1 has only its mean: plan with the law counts"):
        VerifiedLaw(ONE, Verifier(0.9, 0.1))
    repeated = VerifiedLaw(RepeatedData(ONE, 1e9), Verifier(0.9, 0.1))
    with pytest.raises(ValueError, match="approach1 has only its mean"):
        repeated.pass_at_k(N, D, K)


def test_repeats_and_a_verifier_combine() -> None:
    verifier = Verifier(0.9, 0.1)
    repeated = RepeatedData(TWO, 1e7)
    found = VerifiedLaw(repeated, verifier).pass_at_k(N, D, K)
    want = VerifiedLaw(TWO, verifier).pass_at_k(N, repeated.effective_tokens(D), K)
    assert found.tolist() == want.tolist()
