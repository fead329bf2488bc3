from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from t2engine.laws.approach1 import Approach1Law, fit_approach1

TRUTH = Approach1Law(E=0.8, A=40.0, alpha=0.25, B=300.0, beta=0.3, G=1.5, gamma=0.4)
N, D = (x.ravel() for x in np.meshgrid([5e4, 1.3e5, 3.5e5, 1e6], [5e5, 1.6e6, 5e6, 1.6e7]))
K = 2.0 ** np.arange(7)


def test_recovers_all_seven_parameters_from_exact_data() -> None:
    law = fit_approach1(N, D, K, TRUTH.nll(N[:, None], D[:, None], K))
    assert law.fit is not None
    assert law.fit.converged
    assert law.fit.bounds_hit == ()
    for field in fields(law):
        if field.name != "fit":
            want = getattr(TRUTH, field.name)
            assert getattr(law, field.name) == pytest.approx(want, rel=1e-4), field.name


def test_recovers_within_its_standard_errors_from_noisy_data() -> None:
    rng = np.random.default_rng(2)
    nll = TRUTH.nll(N[:, None], D[:, None], K) + 0.005 * rng.normal(size=(16, 1))
    law = fit_approach1(N, D, K, nll, num_resamples=200)
    assert law.fit is not None
    for name in ("alpha", "beta", "gamma"):
        error = law.fit.standard_errors[name]
        assert abs(getattr(law, name) - getattr(TRUTH, name)) < 4 * error + 1e-6
    assert law.fit.rmse == pytest.approx(0.005, rel=0.5)


def test_bootstrap_resamples_models_not_rows() -> None:
    """With every checkpoint of one model no resample differs, so nothing spreads."""
    nll = TRUTH.nll(N[:, None], D[:, None], K) + 0.01 * np.sin(np.arange(112).reshape(16, 7))
    one = fit_approach1(N, D, K, nll, models=["m"] * 16, num_resamples=20)
    many = fit_approach1(N, D, K, nll, num_resamples=20)
    assert one.fit is not None
    assert many.fit is not None
    assert max(one.fit.standard_errors.values()) < 1e-3 * max(many.fit.standard_errors.values())


def test_predictions_are_probabilities_that_rise_with_everything() -> None:
    base = TRUTH.pass_at_k(1e5, 1e6, 4.0)
    assert 0 < base < 1
    for better in ((2e5, 1e6, 4.0), (1e5, 2e6, 4.0), (1e5, 1e6, 8.0)):
        assert TRUTH.pass_at_k(*better) > base


def test_bad_data_are_refused() -> None:
    nll = TRUTH.nll(N[:, None], D[:, None], K)
    with pytest.raises(ValueError, match="at least 3 different k, got"):
        fit_approach1(N, D, K[:2], nll[:, :2])
    with pytest.raises(ValueError, match="nll must be finite"):
        fit_approach1(N, D, K, np.where(nll == nll.max(), np.inf, nll))
    with pytest.raises(ValueError, match=r"\[16, 7\], got \[16, 6\]"):
        fit_approach1(N, D, K, nll[:, :6])
    with pytest.raises(ValueError, match="Approach 1 needs at least 6 checkpoints"):
        fit_approach1(N[:1], D[:1], K, nll[:1])
