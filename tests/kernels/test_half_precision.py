"""Every GPU backend in 16 bits, held to twice the error that torch makes in the same dtype.

Both are measured against float64 on the same rounded inputs. Without a GPU, Triton's interpreter
takes float16 alone: it gets bfloat16 matrix products wrong.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from t2engine.ops import OPS, Op
from tests.backends import device_of, require, why_not
from tests.cases import MERGE_STATES, RMS_NORM, SILU_MUL
from tests.slab_cases import ROPE_APPEND, SLAB_ATTENTION

CASES = {
    "merge_states": MERGE_STATES,
    "rms_norm": RMS_NORM,
    "silu_mul": SILU_MUL,
    "rope_append": ROPE_APPEND,
    "slab_attention": SLAB_ATTENTION,
}
WIDE = {"rope_append": (4, 5)}  # inputs that stay float32: cos and sin
WRITTEN = {"rope_append": (10, 11)}  # inputs that are written: the slabs
DTYPES = [torch.float16] + ([torch.bfloat16] if torch.cuda.is_available() else [])
TIMES_TORCH = 2.0
EVERY = 1 if torch.cuda.is_available() else 4  # the interpreter is slow
EACH = [
    pytest.param(OPS[name], case, id=f"{name}-{case}")
    for name in CASES
    for case in CASES[name][::EVERY]
]


def inputs_of(op: Op, case: Any, device: str, dtype: torch.dtype) -> tuple[Any, ...]:
    wide = WIDE.get(op.name, ())

    def cast(i: int, x: Any) -> Any:
        narrow = isinstance(x, Tensor) and x.is_floating_point() and i not in wide
        return x.to(dtype) if narrow else x

    return tuple(cast(i, x) for i, x in enumerate(case.inputs(device)))


def results(op: Op, out: Any, inputs: tuple[Any, ...]) -> list[Tensor]:
    """What it returned and what it wrote, in float64."""
    returned = out if isinstance(out, tuple) else (out,)
    return [x.double() for x in (*returned, *(inputs[i] for i in WRITTEN.get(op.name, ())))]


def in_dtype(op: Op, case: Any, device: str, dtype: torch.dtype) -> list[Tensor]:
    """By the reference: dtype is what its tensors are cast to once they were rounded."""
    rounded = inputs_of(op, case, device, dtype)
    return results(op, op.reference(*rounded), rounded)


def in_float64(op: Op, case: Any, device: str, dtype: torch.dtype) -> list[Tensor]:
    exact = tuple(
        x.double() if isinstance(x, Tensor) and x.is_floating_point() else x
        for x in inputs_of(op, case, device, dtype)
    )
    return results(op, op.reference(*exact), exact)


def largest(x: Tensor) -> float:
    """0 for no elements; what is nan in both was never to be written."""
    return float(x.nan_to_num().abs().max()) if x.numel() else 0.0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("where", ["triton", "cuda"])
@pytest.mark.parametrize(("op", "case"), EACH)
def test_error_is_at_most_twice_torchs(op, case, where, dtype):
    require(where, why_not(op, where))
    device = device_of(where)
    inputs = inputs_of(op, case, device, dtype)
    got = results(op, op(*inputs, backend=where), inputs)
    want = in_float64(op, case, device, dtype)
    by_torch = in_dtype(op, case, device, dtype)
    for ours, right, theirs in zip(got, want, by_torch, strict=True):
        assert torch.equal(ours.isnan(), right.isnan())
        # Where torch is exact by luck, the last rounding is still ours to make.
        rounding = torch.finfo(dtype).eps * largest(right)
        assert largest(ours - right) <= TIMES_TORCH * largest(theirs - right) + rounding
