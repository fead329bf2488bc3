from __future__ import annotations

import pytest
import torch

from t2engine.ops import rms_norm
from tests.backends import assert_close, to_float64
from tests.cases import RMS_NORM


@pytest.mark.parametrize("case", RMS_NORM, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = rms_norm(*inputs, backend=backend)
    assert_close(out, rms_norm.reference(*to_float64(inputs)), atol=2e-6, rtol=1e-5)


def test_a_row_of_zeros_stays_zero(backend, device):
    x, weight = torch.zeros(2, 20, device=device), torch.ones(20, device=device)
    assert (rms_norm(x, weight, 1e-5, backend=backend) == 0).all()


def test_a_wrong_width_is_named():
    with pytest.raises(ValueError, match=r"rms_norm: weight must be \[8\], got \[7\]"):
        rms_norm(torch.randn(2, 8), torch.randn(7), 1e-5)
