from __future__ import annotations

import numpy as np
import pytest

from t2engine.laws.approach2 import Approach2Law, _isoflop_weights, _residuals, fit_approach2
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.passk import beta_pass_at_k

TRAINING = ChinchillaLaw(E=0.6, A=60.0, alpha=0.35, B=600.0, beta=0.42)
TRUTH = Approach2Law(TRAINING, theta0=2.0, theta1=1.6, theta2=0.9, theta3=1.2, theta4=-0.1)
N, D = (x.ravel() for x in np.meshgrid([5e4, 1.3e5, 3.5e5, 1e6], [5e5, 1.6e6, 5e6, 1.6e7]))
K = 2.0 ** np.arange(7)


def test_link_is_the_paper_s() -> None:
    loss = np.array([1.0, 2.0, 3.0])
    a, b = TRUTH.link(loss)
    mean = 0.9 / (1 + np.exp(1.6 * (loss - 2.0)))
    assert a / (a + b) == pytest.approx(mean, rel=1e-12)
    assert a + b == pytest.approx(np.exp(1.2 - 0.1 * loss), rel=1e-12)
    want = beta_pass_at_k(a, b, 4)
    loss_at = TRAINING.loss(1e5, 1e6)
    assert TRUTH.pass_at_k(1e5, 1e6, 4) == pytest.approx(
        float(beta_pass_at_k(*TRUTH.link(loss_at), 4)), rel=1e-12
    )
    assert np.all(np.diff(want) < 0)


def test_recovers_a_planted_law() -> None:
    """E is one of 40 values, so the coefficients come out near; the predictions closely."""
    wanted = TRUTH.pass_at_k(N[:, None], D[:, None], K)
    law = fit_approach2(N, D, K, wanted, TRAINING.loss(N, D))
    assert law.fit is not None
    assert law.fit.converged
    assert law.training.fit is not None
    assert law.training.fit.converged
    assert np.abs(law.pass_at_k(N[:, None], D[:, None], K) - wanted).max() < 2e-3
    assert pytest.approx(TRUTH.theta1, rel=0.05) == law.theta1
    assert pytest.approx(TRUTH.theta2, rel=0.05) == law.theta2
    assert abs(law.training.E - TRAINING.E) < 0.04


def test_jacobian_is_the_slope_of_the_residuals() -> None:
    rng = np.random.default_rng(1)
    theta = np.array([[0.3, 1.2, 0.8, 1.0, -0.3], [-0.5, 2.0, 0.4, 2.0, 0.5]])
    loss, k, observed = rng.normal(size=6), np.array([1.0, 4, 64]), rng.random((6, 3))
    _, jacobian = _residuals(theta, loss, k, observed)
    for j, step in enumerate(1e-6 * np.eye(5)):
        up = _residuals(theta + step, loss, k, observed)[0]
        down = _residuals(theta - step, loss, k, observed)[0]
        assert np.allclose(jacobian[..., j], (up - down) / 2e-6, atol=1e-8)


def test_merit_goes_on_where_pass_at_k_rounds_to_one() -> None:
    k = np.array([1e30, 1e40])
    sure = Approach2Law(TRAINING, theta0=2.0, theta1=5.0, theta2=1.0, theta3=3.0, theta4=0.0)
    assert np.all(sure.pass_at_k(1e9, 1e12, k) == 1)
    assert np.diff(sure.merit(1e9, 1e12, k)) > 1


def test_isoflop_groups_weigh_by_their_variance() -> None:
    sizes = np.array([1e5, 2e5, 4e5] * 2)
    compute = np.repeat([1e12, 1e13], 3)
    nll = np.array([3.0, 3.1, 3.2, 2.0, 2.2, 2.4])  # the second group spreads twice as far
    weights = _isoflop_weights(sizes, compute / sizes, nll)
    assert weights[:3] == pytest.approx(weights[0])
    assert weights[0] / weights[3] == pytest.approx(4)
    assert weights.mean() == pytest.approx(1)
    assert np.all(_isoflop_weights(N, D, TRAINING.loss(N, D)) == 1)


def test_bad_data_are_refused() -> None:
    passes, nll = TRUTH.pass_at_k(N[:, None], D[:, None], K), TRAINING.loss(N, D)
    with pytest.raises(ValueError, match=r"task NLL above 0 \(gold_nll\)"):
        fit_approach2(N, D, K, passes, np.where(nll == nll.max(), np.nan, nll))
    with pytest.raises(ValueError, match=r"pass_at_k must be within \[0, 1\]"):
        fit_approach2(N, D, K, passes * 2, nll)
    with pytest.raises(ValueError, match="at least 2 different k, got"):
        fit_approach2(N, D, K[:1], passes[:, :1], nll)
    with pytest.raises(ValueError, match="Approach 2 needs at least 6 checkpoints"):
        fit_approach2(N[:5], D[:5], K, passes[:5], nll[:5])
