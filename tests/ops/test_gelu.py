from __future__ import annotations

import math

import pytest
import torch

from t2engine.ops import gelu
from tests.backends import assert_close, to_float64
from tests.cases import GELU


@pytest.mark.parametrize("case", GELU, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = gelu(*inputs, backend=backend)
    assert_close(out, gelu.reference(*to_float64(inputs)), atol=1.5e-6, rtol=1e-6)


@pytest.mark.parametrize("tanh", [False, True])
def test_every_size_of_argument(tanh, backend, device):
    x = torch.linspace(-15, 15, 200_001, device=device).view(1, -1)
    want = gelu.reference(x.double(), tanh)
    assert_close(gelu(x, tanh, backend=backend), want, atol=1.5e-6, rtol=1e-6)


@pytest.mark.parametrize("tanh", [False, True])
def test_the_ends_of_the_line(tanh, backend, device):
    x = torch.tensor([[-1e30, -100.0, 0.0, 100.0, math.nan]], device=device)
    out = gelu(x, tanh, backend=backend)[0]
    assert out[:4].tolist() == [0.0, 0.0, 0.0, 100.0]
    assert out[4].isnan()
