from __future__ import annotations

import pytest
import torch

from t2engine.ops import layer_norm
from tests.backends import assert_close, to_float64
from tests.cases import LAYER_NORM


@pytest.mark.parametrize("case", LAYER_NORM, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = layer_norm(*inputs, backend=backend)
    assert_close(out, layer_norm.reference(*to_float64(inputs)), atol=2e-6, rtol=1e-5)


def test_a_large_mean_does_not_cancel(backend, device):
    x = 1000 + torch.linspace(-1, 1, 50, device=device).repeat(2, 1)
    inputs = x, torch.ones(50, device=device), torch.zeros(50, device=device), 1e-5
    out = layer_norm(*inputs, backend=backend)
    assert_close(out, layer_norm.reference(*to_float64(inputs)), atol=3e-4, rtol=0)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_wrong_width_is_named(name):
    vectors = {"weight": torch.randn(8), "bias": torch.randn(8)} | {name: torch.randn(7)}
    with pytest.raises(ValueError, match=rf"layer_norm: {name} must be \[8\], got \[7\]"):
        layer_norm(torch.randn(2, 8), *vectors.values(), 1e-5)
