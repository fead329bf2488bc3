from __future__ import annotations

import pytest
import torch
from scipy.linalg import hadamard as scipy_hadamard

from t2engine.ops import hadamard, largest_block
from tests.backends import assert_close, to_float64
from tests.cases import HADAMARD


@pytest.mark.parametrize("case", HADAMARD, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = hadamard(*inputs, backend=backend)
    assert_close(out, hadamard.reference(*to_float64(inputs)), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("block", [1, 2, 16, 128])
def test_it_is_the_hadamard_matrix(block, backend, device):
    matrix = torch.tensor(scipy_hadamard(block), dtype=torch.float64) / block**0.5
    out = hadamard(torch.eye(block, device=device), block, backend=backend)
    assert_close(out, matrix, atol=1e-6, rtol=0)


def test_products_are_kept(backend, device):
    """(x H) (w H)^T = x w^T."""
    x, w = torch.randn(2, 5, 256, device=device)
    mixed = (hadamard(t, 64, backend=backend).double() for t in (x, w))
    assert_close(next(mixed) @ next(mixed).T, x.double() @ w.double().T, atol=1e-4, rtol=0)


def test_a_lone_value_is_spread(backend, device):
    x = torch.zeros(1, 128, device=device)
    x[0, 37] = 8
    out = hadamard(x, 128, backend=backend)
    assert_close(out.abs(), torch.full((1, 128), 8 / 128**0.5), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("width", "block"), [(2048, 128), (1408, 128), (96, 32), (7, 1)])
def test_the_block_of_a_width(width, block):
    assert largest_block(width) == block


@pytest.mark.parametrize("block", [0, 3, 16])
def test_a_block_that_does_not_divide_is_refused(block):
    with pytest.raises(ValueError, match="block must be a power of two that divides 8"):
        hadamard(torch.zeros(1, 8), block)
