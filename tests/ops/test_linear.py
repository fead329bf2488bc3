from __future__ import annotations

import pytest
import torch

from t2engine.ops import linear, pack_weight
from tests.backends import assert_close, to_float64
from tests.cases import LINEAR


@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = linear(*inputs, backend=backend)
    assert_close(out, linear.reference(*to_float64(inputs)), atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("out_features", [1, 15, 16, 17, 50])
def test_packing_keeps_every_weight(out_features):
    weight = torch.randn(out_features, 7)
    packed = pack_weight(weight)
    assert packed.shape == weight.shape
    assert torch.equal(packed.unpack(), weight)
    assert torch.equal(packed.rows(torch.tensor([0, out_features - 1])), weight[[0, -1]])


def test_a_plain_weight_gives_the_bits_of_a_packed_one(backend, device):
    x, packed, bias = LINEAR[7].inputs(device)
    plain = linear(x, packed.unpack(), bias, backend=backend)
    assert torch.equal(plain, linear(x, packed, bias, backend=backend))


def test_bias_is_where_the_sum_starts(native):
    """A row of zeros gives the bias, and an exact sum with it gives exactly that."""
    x = torch.tensor([[0.0, 0.0], [2.0**-30, 1.0]])
    weight, bias = torch.tensor([[1.0, -1.0]]), torch.tensor([1.0])
    out = linear(x, pack_weight(weight), bias, backend="cpp")
    assert out.tolist() == [[1.0], [0.0]]  # (1 + 2^-30) rounds to 1, then - 1


def test_a_wrong_shape_is_named():
    weight = pack_weight(torch.randn(5, 4))
    with pytest.raises(ValueError, match=r"linear: x must be \[2, 4\], got \[2, 3\]"):
        linear(torch.randn(2, 3), weight, None)
    with pytest.raises(ValueError, match=r"linear: bias must be \[5\], got \[4\]"):
        linear(torch.randn(2, 4), weight, torch.randn(4))


def test_panels_that_do_not_fit_are_refused(native):
    out, x = torch.empty(2, 40), torch.randn(2, 4)
    for shape in [(2, 4, 16), (3, 5, 16), (5, 4, 8)]:
        with pytest.raises(ValueError, match="linear: panels must be"):
            native.linear_cpu(out, x, torch.zeros(shape), None, None, 1)
