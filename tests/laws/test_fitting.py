from __future__ import annotations

import numpy as np
import pytest

from t2engine.laws.fitting import Parameter, Residuals, fit_batch, fit_multistart
from t2engine.laws.gamma import Array

X = np.linspace(-1, 2, 30)
BOX = (Parameter("rate", -3, 3, -1, 1), Parameter("height", -5, 5, -1, 1))


def curve(y: Array) -> Residuals:
    """Residuals of height exp(rate x) - y."""

    def residuals(theta: Array) -> tuple[Array, Array]:
        rate, height = theta[:, :1], theta[:, 1:]
        shape = np.exp(rate * X)
        return height * shape - y, np.stack([height * X * shape, shape], axis=-1)

    return residuals


def test_exact_data_are_fitted_exactly() -> None:
    fit = fit_multistart(curve(2 * np.exp(-0.7 * X)), BOX)
    assert fit.converged
    assert fit.bounds_hit == ()
    assert fit.values == pytest.approx((-0.7, 2), abs=1e-10)
    assert fit.num_starts == 64
    assert fit.num_agreeing >= 32


def test_gradient_vanishes_at_the_optimum() -> None:
    y = 2 * np.exp(-0.7 * X) + 0.3 * np.sin(9 * X)
    residuals = curve(y)
    fit = fit_multistart(residuals, BOX)
    residual, jacobian = residuals(np.array([fit.values]))
    gradient = jacobian[0].T @ residual[0]
    assert np.abs(gradient).max() < 1e-7 * np.abs(jacobian[0]).sum()


def test_a_bound_in_the_way_is_named() -> None:
    fit = fit_multistart(curve(2 * np.exp(-0.7 * X)), (Parameter("rate", -0.5, 3, 0, 1), BOX[1]))
    assert fit.converged
    assert fit.bounds_hit == ("rate",)
    assert fit.values[0] == -0.5
    height = fit.values[1]  # given the rate, least squares in the height
    shape = np.exp(-0.5 * X)
    assert height == pytest.approx(shape @ (2 * np.exp(-0.7 * X)) / (shape @ shape), rel=1e-9)


def test_huber_ignores_an_outlier() -> None:
    y = 2 * np.exp(-0.7 * X)
    y[4] += 50
    squared = fit_multistart(curve(y), BOX)
    robust = fit_multistart(curve(y), BOX, huber_delta=1e-3)
    assert abs(squared.values[0] + 0.7) > 0.05
    assert robust.values == pytest.approx((-0.7, 2), abs=1e-3)
    assert robust.objective == pytest.approx(1e-3 * (50 - 5e-4), rel=1e-3)


def test_weights_of_a_batch_are_separate_data_sets() -> None:
    y = 2 * np.exp(-0.7 * X) + 0.1 * np.cos(5 * X)
    weights = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=8).astype(float)
    batch = fit_batch(curve(y), BOX, np.tile([-0.5, 1.0], (8, 1)), weights=weights)
    assert batch.converged.all()
    for weight, values in zip(weights, batch.values, strict=True):
        alone = fit_multistart(curve(y), BOX, weights=weight)
        assert values == pytest.approx(alone.values, rel=1e-6)


def test_the_seed_decides_the_starts() -> None:
    y = 2 * np.exp(-0.7 * X) + 0.1 * np.cos(5 * X)
    first = fit_multistart(curve(y), BOX, seed=3)
    assert first == fit_multistart(curve(y), BOX, seed=3)
    assert first.values == pytest.approx(fit_multistart(curve(y), BOX, seed=4).values, rel=1e-6)
