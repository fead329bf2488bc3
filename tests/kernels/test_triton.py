"""Triton kernels in half precision, in every plan; interpreted where there is no GPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from t2engine.ops import merge_states, slab_attention
from t2engine.ops._attention_plan import AttentionPlan, Device, plan_attention
from t2engine.ops._prefix_choices import PREFIX_CHOICES, choose_prefix
from t2engine.ops.slab_attention import planned, segments_of
from tests.backends import assert_close, device_of, map_tensors, require, to_float64, why_not
from tests.cases import MERGE_STATES
from tests.slab_cases import SLAB_ATTENTION, TWO_LEVELS, SlabCase, one_prompt

DTYPES = [torch.float32, torch.float16]
if torch.cuda.is_available():
    DTYPES.append(torch.bfloat16)  # the interpreter gets bfloat16 matrix products wrong
# Half precision rounds the weights and the output; their errors add up to a few of its units.
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
IN_COMPANY = [
    SlabCase(TWO_LEVELS, 12, 1, 3, 64, 40),
    SlabCase(((0, 9, 384), (1, 5, 130), (9, 11, 70)), 14, 1, 7, 80, 70),
]


def cast(inputs: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    return map_tensors(inputs, lambda x: x.to(dtype) if x.is_floating_point() else x)


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def device() -> str:
    require("triton", why_not(slab_attention, "triton"))
    return device_of("triton")


def plan_of(inputs: tuple[Any, ...], **how: Any) -> AttentionPlan:
    return plan_attention(segments_of(inputs[3], inputs[4]), inputs[0], "triton", **how)


def attend(inputs: tuple[Any, ...], plan: AttentionPlan) -> Tensor:
    q, k, v, _, _, *own = inputs
    [out] = slab_attention.outputs(*inputs)
    slab_attention.load("triton")(out, *planned(plan, q, k, v, *own))
    return out


def assert_right(inputs: tuple[Any, ...], out: Tensor, sharpness: float = 1.0) -> None:
    dtype = inputs[0].dtype
    assert out.dtype == dtype
    want = slab_attention.reference(*to_float64(inputs))
    assert_close(out, want, atol=max(1.0, sharpness) * TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("half", DTYPES[1:], ids=str)
@pytest.mark.parametrize("case", SLAB_ATTENTION, ids=str)
def test_slab_attention_in_half_precision(case, half, device):
    inputs = cast(case.inputs(device), half)
    assert_right(inputs, slab_attention(*inputs, backend="triton"), case.sharpness)


@pytest.mark.parametrize("case", SLAB_ATTENTION, ids=str)
def test_the_prefix_kernel_takes_every_segment(case, dtype, device):
    """An invariant plan leaves none, however short, to the suffix kernel."""
    inputs = cast(case.inputs(device), dtype)
    plan = plan_of(inputs, invariant=True)
    assert len(plan.spans) == 0
    assert_right(inputs, attend(inputs, plan), case.sharpness)


@pytest.mark.parametrize("splits", range(1, 9))
def test_splits_of_the_prefix_change_nothing(splits, dtype, device):
    keys = 128 * splits - 37 * (splits > 1)
    inputs = cast(SlabCase(one_prompt(3, keys), 3, 1, 7, 64, 9).inputs(device), dtype)
    choice = choose_prefix("triton", 80, inputs[0].element_size(), 64, 21)
    plan = plan_of(inputs, device=Device(80, 132), choice=replace(choice, tile_keys=64))
    assert plan.num_states == 3 * splits
    assert_right(inputs, attend(inputs, plan))


@pytest.mark.parametrize("choice", [c for c in PREFIX_CHOICES if c.backend == "triton"], ids=str)
def test_every_choice_of_tiles(choice, device):
    """Queries of two segments, of which one takes a tile and a part, and keys of two tiles."""
    rows, D, whole = choice.tile_rows // 3 + 2, choice.max_head_dim, 2 * choice.tile_keys
    segments = ((0, rows, 128 + whole), (0, 6, whole + 1))
    half = torch.bfloat16 if torch.cuda.is_available() else torch.float16
    dtype = torch.float32 if choice.element_size == 4 else half
    inputs = cast(SlabCase(segments, rows, 1, 3, D).inputs(device), dtype)
    plan = plan_of(inputs, choice=choice, invariant=True)
    assert len(plan.items) > 4
    assert_right(inputs, attend(inputs, plan))


def test_items_that_pad_the_list_do_nothing(device):
    inputs = SlabCase(TWO_LEVELS, 12, 1, 3, 32, 5).inputs(device)
    plan = plan_of(inputs)
    padding = plan.items.new_tensor([[0] * 6, [5, 0, 0, 0, 128, 1]])
    padded = replace(plan, items=torch.cat([plan.items, padding]))
    assert torch.equal(attend(inputs, padded), attend(inputs, plan))


@pytest.mark.parametrize("case", IN_COMPANY, ids=str)
def test_an_invariant_row_does_not_depend_on_its_company(case, dtype, device):
    inputs = cast(case.inputs(device), dtype)
    together = attend(inputs, plan_of(inputs, invariant=True))
    for rows in ([0], [case.rows - 1], [4, 2]):
        alone = case.take(inputs, rows)
        out = attend(alone, plan_of(alone, invariant=True))
        assert torch.equal(out, together[rows])


@pytest.mark.parametrize("steps", [1, 16, 45])
def test_a_row_does_not_depend_on_the_step_it_began_at(steps, dtype, device):
    """As a row does that took the place of one that ended."""
    inputs = cast(IN_COMPANY[0].inputs(device), dtype)
    moved = later(inputs, steps)
    want = attend(inputs, plan_of(inputs, invariant=True))
    assert torch.equal(attend(moved, plan_of(moved, invariant=True)), want)


def later(inputs: tuple[Any, ...], steps: int) -> tuple[Any, ...]:
    """The same own keys, of later steps, in the columns and chunks where those belong."""
    *shared, slab_k, slab_v, row_chunk, first, last, scale = inputs
    T, B = slab_k.shape[2], row_chunk.shape[0]
    moved = [torch.full_like(slab, torch.nan) for slab in (slab_k, slab_v)]
    for row in range(len(first)):
        for step in range(int(first[row]), int(last[row]) + 1):
            old, new = (row_chunk[t // T % B, row] for t in (step, step + steps))
            for slab, to in zip((slab_k, slab_v), moved, strict=True):
                to[new, :, (step + steps) % T] = slab[old, :, step % T]
    alive = (last >= first) * steps
    return (*shared, *moved, row_chunk, first + alive, last + alive, scale)


@pytest.mark.parametrize("case", MERGE_STATES, ids=str)
def test_merge_states(case, dtype, device):
    inputs = cast(case.inputs(device), dtype)
    out, lse = merge_states(*inputs, backend="triton")
    assert (out.dtype, lse.dtype) == (dtype, dtype)
    want_out, want_lse = merge_states.reference(*to_float64(inputs))
    assert_close(out, want_out, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    assert_close(lse, want_lse, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
