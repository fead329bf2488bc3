"""Triton backend of t2engine/ops/merge_states.py. One program per tile of (sample, head) rows."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE_ELEMENTS = 2048  # of one operand in one program: 16 per thread of 4 warps


@triton.jit
def merge_states_kernel(
    out_ptr, lse_ptr,  # [S*H, D], [S*H]  written
    out_a_ptr, lse_a_ptr, out_b_ptr, lse_b_ptr,  # [S*H, D], [S*H] twice
    num_rows,  # S*H
    HEAD_DIM: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_D: tl.constexpr,  # next power of two >= HEAD_DIM
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS  # S*H*D may pass 2**31
    rows = first + tl.arange(0, BLOCK_ROWS)
    dims = tl.arange(0, BLOCK_D)
    in_rows = rows < num_rows
    lse_a = tl.load(lse_a_ptr + rows, mask=in_rows, other=0.0).to(tl.float32)  # [BLOCK_ROWS]
    lse_b = tl.load(lse_b_ptr + rows, mask=in_rows, other=0.0).to(tl.float32)
    # Both sets empty: the finite floor keeps -inf - -inf (nan) from appearing.
    top = tl.maximum(tl.maximum(lse_a, lse_b), -3.4028234e38)
    mass_a = tl.exp(lse_a - top)
    mass_b = tl.exp(lse_b - top)
    mass = mass_a + mass_b
    nonzero = tl.where(mass == 0.0, 1.0, mass)
    lse = tl.where(mass == 0.0, float("-inf"), top + tl.log(nonzero))
    tl.store(lse_ptr + rows, lse, mask=in_rows)

    at = rows[:, None] * HEAD_DIM + dims[None, :]  # [BLOCK_ROWS, BLOCK_D]
    mask = in_rows[:, None] & (dims < HEAD_DIM)[None, :]
    out_a = tl.load(out_a_ptr + at, mask=mask, other=0.0).to(tl.float32)
    out_b = tl.load(out_b_ptr + at, mask=mask, other=0.0).to(tl.float32)
    out = (mass_a / nonzero)[:, None] * out_a + (mass_b / nonzero)[:, None] * out_b
    tl.store(out_ptr + at, out, mask=mask)


def merge_states(
    out: Tensor, lse: Tensor, out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor
) -> None:
    S, H, D = out.shape
    if out.numel() == 0:
        return
    block_d = triton.next_power_of_2(D)
    block_rows = max(1, TILE_ELEMENTS // block_d)
    with torch.cuda.device(out.get_device()):
        merge_states_kernel[(triton.cdiv(S * H, block_rows),)](
            out, lse, out_a, lse_a, out_b, lse_b, S * H,
            HEAD_DIM=D, BLOCK_ROWS=block_rows, BLOCK_D=block_d,
        )  # fmt: skip
