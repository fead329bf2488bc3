"""Triton kernels in half precision and with other splits; interpreted where there is no GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from t2engine.ops import merge_states, shared_prefix_attention
from tests.attention_cases import SharedPrefixCase
from tests.backends import assert_close, device_of, map_tensors, require, to_float64, why_not
from tests.cases import MERGE_STATES

DTYPES = [torch.float32, torch.float16]
if torch.cuda.is_available():
    DTYPES.append(torch.bfloat16)  # the interpreter gets bfloat16 matrix products wrong
# Half precision rounds the weights and the output; their errors add up to a few of its units.
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
DECODE = [
    SharedPrefixCase((7,), (70,), 7, 1, 64, 40),
    SharedPrefixCase((5, 2), (33, 65), 6, 2, 80, 33),
    SharedPrefixCase((3, 0, 4), (0, 5, 130), 3, 3, 96, 9),
    SharedPrefixCase((9,), (200,), 8, 1, 128, 2),  # 72 queries: more than a tile
]


def cast(inputs: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    return map_tensors(inputs, lambda x: x.to(dtype) if x.is_floating_point() else x)


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def device() -> str:
    require("triton", why_not(shared_prefix_attention, "triton"))
    return device_of("triton")


@pytest.mark.parametrize("case", DECODE, ids=str)
def test_shared_prefix_attention(case, dtype, device):
    inputs = cast(case.inputs(device), dtype)
    out = shared_prefix_attention(*inputs, backend="triton")
    assert out.dtype == dtype
    want = shared_prefix_attention.reference(*to_float64(inputs))
    assert_close(out, want, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("splits", [1, 2, 5])
def test_splits_of_the_prefix_change_nothing(splits, device):
    """5 splits of at most 70 keys, in tiles of 32, leave some without any."""
    inputs = SharedPrefixCase((4, 0, 3), (70, 9, 0), 7, 1, 64, 9).inputs(device)
    out = torch.full_like(inputs[0], torch.nan)
    shared_prefix_attention.load("triton")(out, *inputs, splits=splits)
    want = shared_prefix_attention.reference(*to_float64(inputs))
    assert_close(out, want, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("case", MERGE_STATES, ids=str)
def test_merge_states(case, dtype, device):
    inputs = cast(case.inputs(device), dtype)
    out, lse = merge_states(*inputs, backend="triton")
    assert (out.dtype, lse.dtype) == (dtype, dtype)
    want_out, want_lse = merge_states.reference(*to_float64(inputs))
    assert_close(out, want_out, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    assert_close(lse, want_lse, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
