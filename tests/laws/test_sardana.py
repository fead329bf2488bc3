from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from t2engine.laws.sardana import (
    HOFFMANN,
    InferenceAware,
    compute_optimal_loss,
    plan_inference_aware,
)


def served(N: float, inference_tokens: float) -> InferenceAware:
    """The cheapest model as good as a compute-optimal one of N parameters."""
    return plan_inference_aware(HOFFMANN, compute_optimal_loss(HOFFMANN, N), inference_tokens)


@pytest.mark.parametrize(
    ("N", "inference_tokens", "want_N", "want_saving"),
    [(13e9, 2e12, "6.97", "17.4"), (30e9, 1e13, "13.6", "28.0")],
)
def test_reference_values(N: float, inference_tokens: float, want_N: str, want_saving: str) -> None:
    found = served(N, inference_tokens)
    digits = len(want_N.partition(".")[2])
    assert f"{found.cheapest.N / 1e9:.{digits}f}" == want_N
    assert f"{100 * found.saving:.1f}" == want_saving
    assert pytest.approx(N, rel=1e-12) == found.compute_optimal.N


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.floats(6, 12), st.floats(6, 16))
def test_both_models_have_the_loss_asked_for(log_N: float, log_tokens: float) -> None:
    found = served(10**log_N, 10**log_tokens)
    gap = found.loss - HOFFMANN.E
    cheapest, plain = found.cheapest, found.compute_optimal
    for model in (cheapest, plain):
        assert float(HOFFMANN.loss(model.N, model.D)) - HOFFMANN.E == pytest.approx(gap, rel=1e-9)
    assert cheapest.N <= plain.N * (1 + 1e-12)
    assert cheapest.D >= plain.D * (1 - 1e-12)
    assert -1e-12 <= found.saving < 1


@pytest.mark.parametrize(("N", "inference_tokens"), [(1e8, 1e9), (13e9, 2e12), (30e9, 1e15)])
def test_no_model_on_the_curve_of_that_loss_is_cheaper(N: float, inference_tokens: float) -> None:
    found = served(N, inference_tokens)

    def log_flops(log_N: float) -> float:
        size = np.exp(log_N)
        rest = found.loss - HOFFMANN.E - HOFFMANN.A * size**-HOFFMANN.alpha
        D = (HOFFMANN.B / rest) ** (1 / HOFFMANN.beta)
        return float(np.log(size * (6 * D + 2 * inference_tokens)))

    smallest = (HOFFMANN.A / (found.loss - HOFFMANN.E)) ** (1 / HOFFMANN.alpha)
    bounds = (np.log(smallest * (1 + 1e-6)), np.log(100 * N))
    best = minimize_scalar(log_flops, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    assert np.log(found.cheapest.flops) == pytest.approx(best.fun, abs=1e-10)
    assert pytest.approx(np.exp(best.x), rel=1e-5) == found.cheapest.N


def test_nothing_served_is_compute_optimal() -> None:
    found = served(1e9, 0)
    assert found.cheapest == found.compute_optimal
    assert found.saving == 0
    gains = (
        HOFFMANN.alpha * HOFFMANN.A * found.cheapest.N**-HOFFMANN.alpha,
        HOFFMANN.beta * HOFFMANN.B * found.cheapest.D**-HOFFMANN.beta,
    )
    assert gains[0] == pytest.approx(gains[1], rel=1e-12)


def test_more_serving_means_a_smaller_model_and_a_larger_saving() -> None:
    plans = [served(13e9, tokens) for tokens in (0, 1e10, 1e12, 1e14, 1e18)]
    assert np.all(np.diff([plan.cheapest.N for plan in plans]) < 0)
    assert np.all(np.diff([plan.saving for plan in plans]) > 0)


def test_impossible_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"loss must lie above E = 1.69, .* got 1.69"):
        plan_inference_aware(HOFFMANN, 1.69, 1e12)
    with pytest.raises(ValueError, match=r"loss must lie above E = 1.69, .* got nan"):
        plan_inference_aware(HOFFMANN, float("nan"), 1e12)
    with pytest.raises(ValueError, match="inference_tokens must be 0 or more"):
        plan_inference_aware(HOFFMANN, 2.0, -1.0)
    with pytest.raises(ValueError, match="the law's beta must be above 0 and finite, got 0"):
        plan_inference_aware(replace(HOFFMANN, beta=0.0), 2.0, 1e12)
    with pytest.raises(ValueError, match="N must be above 0"):
        compute_optimal_loss(HOFFMANN, 0.0)
