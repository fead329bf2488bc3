from __future__ import annotations

import math

import pytest
import torch

from t2engine.ops import silu_mul
from tests.backends import assert_close, to_float64
from tests.cases import SILU_MUL


@pytest.mark.parametrize("case", SILU_MUL, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = silu_mul(*inputs, backend=backend)
    assert_close(out, silu_mul.reference(*to_float64(inputs)), atol=1e-6, rtol=2e-6)


def test_the_ends_of_the_line(backend, device):
    gate = torch.tensor([-1e30, -200.0, 0.0, 200.0, 1e30, math.nan], device=device)
    out = silu_mul(torch.cat([gate, torch.ones_like(gate)])[None], backend=backend)[0]
    assert out[:5].tolist() == [0.0, 0.0, 0.0, 200.0, torch.tensor(1e30).item()]
    assert out[5].isnan()


def test_an_odd_number_of_columns_is_refused():
    with pytest.raises(ValueError, match="silu_mul: gate_up must have an even number of columns"):
        silu_mul(torch.randn(2, 7))
