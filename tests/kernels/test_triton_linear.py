"""The product with fixed tiles; interpreted where there is no GPU."""

from __future__ import annotations

import math

import pytest
import torch

from t2engine.ops import linear, pack_weight
from tests.backends import assert_close, device_of, require, why_not
from tests.cases import normal

DTYPES = [torch.float32, torch.float16]
if torch.cuda.is_available():
    DTYPES.append(torch.bfloat16)  # the interpreter gets bfloat16 matrix products wrong
# In half precision the output is rounded once; sums of float32 are in parts of tf32 on a GPU.
TOLERANCE = {torch.float32: 5e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
SHAPES = [
    (1, 1, 1),
    (3, 17, 5),
    (64, 64, 128),  # a tile, one step
    (65, 65, 129),  # and one more of each
    (7, 200, 300),
    (130, 96, 40),
]


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def device() -> str:
    require("triton", why_not(linear, "triton"))
    return device_of("triton")


def inputs_of(rows, depth, columns, dtype, device):
    g = torch.Generator().manual_seed(rows + depth + columns)
    x, bias = normal(g, rows, depth), normal(g, columns)
    weight = normal(g, columns, depth) / math.sqrt(depth)
    return [t.to(dtype).to(device) for t in (x, weight, bias)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_float64(shape, bias, dtype, device):
    x, weight, vector = inputs_of(*shape, dtype, device)
    vector = vector if bias else None
    out = linear(x, weight, vector, backend="triton")
    assert out.dtype == dtype
    want = linear.reference(*(t if t is None else t.double() for t in (x, weight, vector)))
    assert_close(out, want, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_a_row_has_the_same_bits_in_any_number_of_rows_and_at_any_place(dtype, device):
    x, weight, bias = inputs_of(200, 150, 70, dtype, device)
    whole = linear(x, weight, bias, backend="triton")
    for rows in (1, 7, 64):
        for first in (0, 63, 200 - rows):
            some = x[first : first + rows].contiguous()
            got = linear(some, weight, bias, backend="triton")
            assert torch.equal(got, whole[first : first + rows])
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0)).to(device)
    assert torch.equal(linear(x[order], weight, bias, backend="triton"), whole[order])


def test_what_is_not_finite_stays_in_its_row(dtype, device):
    x, weight, bias = inputs_of(70, 40, 9, dtype, device)
    want = linear(x, weight, bias, backend="triton")
    x[3, 7], x[69, 0] = math.nan, math.inf
    got = linear(x, weight, bias, backend="triton")
    assert not got[[3, 69]].isfinite().any()
    others = [row for row in range(70) if row not in (3, 69)]
    assert torch.equal(got[others], want[others])


def test_no_rows(dtype, device):
    x, weight, bias = inputs_of(0, 5, 7, dtype, device)
    assert linear(x, weight, bias, backend="triton").shape == (0, 7)


def test_a_packed_weight_or_another_dtype_is_refused(device):
    x, weight, bias = inputs_of(2, 5, 7, torch.float32, device)
    with pytest.raises(ValueError, match=r"weight must be a plain tensor .* unpack\(\)"):
        linear(x, pack_weight(weight), bias, backend="triton")
    with pytest.raises(ValueError, match=r"one floating-point dtype .*float32 and torch.float16"):
        linear(x, weight.half(), bias, backend="triton")


def test_only_a_caller_who_names_it_gets_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert linear.pick.__wrapped__(linear, "cuda") == "torch"
