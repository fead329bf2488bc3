from __future__ import annotations

import numpy as np
import pytest

from t2engine.laws.beta_binomial import _likelihood, fit_beta_binomial
from t2engine.laws.passk import beta_pass_at_k
from tests.laws.ladder import column, public_table


@pytest.mark.parametrize(
    ("model", "a", "b"),
    [("12B_300B", 0.9109, 82.51), ("410M_300B", 0.6180, 74.77), ("1.4B_60B", 0.4978, 41.25)],
)
def test_pythia_reference_values(model: str, a: float, b: float) -> None:
    rows = [r for r in public_table("pythia_gsm8k_counts.csv") if r["model"] == f"Pythia_{model}"]
    fit = fit_beta_binomial(column(rows, "num_samples"), column(rows, "num_correct"))
    assert fit.converged
    assert fit.bounds_hit == ()
    assert fit.a == pytest.approx(a, rel=0.005)
    assert fit.b == pytest.approx(b, rel=0.005)


def test_recovers_planted_parameters() -> None:
    rng = np.random.default_rng(0)
    c = rng.binomial(64, rng.beta(0.5, 3.0, size=40_000))
    fit = fit_beta_binomial(np.full(c.size, 64), c)
    assert fit.a == pytest.approx(0.5, rel=0.03)
    assert fit.b == pytest.approx(3.0, rel=0.03)


def test_gradient_and_hessian_are_those_of_the_likelihood() -> None:
    n, c, w = np.array([10.0, 10, 64]), np.array([0.0, 3, 60]), np.array([5.0, 2, 1])
    point, h = np.array([-0.7, 1.3]), 1e-5
    _, gradient, hessian = _likelihood(point, n, c, w)
    for j, step in enumerate(np.eye(2) * h):
        up, down = _likelihood(point + step, n, c, w), _likelihood(point - step, n, c, w)
        assert gradient[j] == pytest.approx((up[0] - down[0]) / (2 * h), rel=1e-7)
        assert hessian[j] == pytest.approx((up[1] - down[1]) / (2 * h), rel=1e-7)


def test_a_weight_is_a_repeat() -> None:
    n, c = np.array([8, 8, 16, 16]), np.array([0, 3, 2, 9])
    twice = fit_beta_binomial(np.repeat(n, [2, 1, 1, 3]), np.repeat(c, [2, 1, 1, 3]))
    weighted = fit_beta_binomial(n, c, weights=[2, 1, 1, 3])
    assert (weighted.a, weighted.b) == pytest.approx((twice.a, twice.b), rel=1e-9)


def test_equal_questions_hit_the_concentration_bound() -> None:
    fit = fit_beta_binomial(np.full(50, 10), np.full(50, 3))
    assert fit.bounds_hit == ("concentration",)
    assert fit.a / (fit.a + fit.b) == pytest.approx(0.3, rel=1e-6)


def test_all_right_is_a_mean_of_one_and_all_wrong_is_refused() -> None:
    fit = fit_beta_binomial([16] * 20, [16] * 20)
    assert fit.a / (fit.a + fit.b) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="num_correct is 0 for every question"):
        fit_beta_binomial([16] * 20, [0] * 20)


def test_no_neighbour_is_more_likely() -> None:
    rng = np.random.default_rng(3)
    n, c = np.full(100, 32), rng.binomial(32, rng.beta(0.2, 1.0, size=100))
    fit = fit_beta_binomial(n, c)
    point = np.array([np.log(fit.a / fit.b), np.log(fit.a + fit.b)])
    for step in ([1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]):
        value = _likelihood(point + step, n.astype(float), c.astype(float), np.ones(100))[0]
        assert value < fit.log_likelihood


def test_least_cost_on_gsm8k() -> None:
    """2 N k of the cheapest of nine finished Pythias at six accuracies, by the fitted Beta."""
    fits = {}
    rows = [r for r in public_table("pythia_gsm8k_counts.csv") if r["model"].endswith("_300B")]
    for name in {row["model"] for row in rows}:
        own = [row for row in rows if row["model"] == name]
        fit = fit_beta_binomial(column(own, "num_samples"), column(own, "num_correct"))
        fits[float(own[0]["N"])] = fit
    assert len(fits) == 9
    k = np.arange(1, 1001)
    curves = {N: beta_pass_at_k(fit.a, fit.b, k) for N, fit in fits.items()}
    for target, want in ((0.05, 7), (0.1, 14), (0.2, 33), (0.4, 96), (0.6, 254), (0.8, 934)):
        least = {N: int(np.searchsorted(curve, target)) + 1 for N, curve in curves.items()}
        cheapest = min((N * samples, N) for N, samples in least.items() if samples <= k.size)
        assert cheapest == (4.1e8 * want, 4.1e8)
