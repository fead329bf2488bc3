"""Triton backend of t2engine/ops/silu_mul.py. One program per part of a row."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 2048  # columns of one program at most: 16 per thread of 4 warps


@triton.jit
def silu_mul_kernel(
    out_ptr,  # [R, I]  written
    gate_up_ptr,  # [R, 2 I]
    WIDTH: tl.constexpr,  # I
    BLOCK_I: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)  # 2*R*I may pass 2**31
    columns = tl.program_id(1) * BLOCK_I + tl.arange(0, BLOCK_I)
    mask = columns < WIDTH
    at = gate_up_ptr + row * (2 * WIDTH) + columns
    gate = tl.load(at, mask=mask, other=0.0).to(tl.float32)
    up = tl.load(at + WIDTH, mask=mask, other=0.0).to(tl.float32)
    # exp of what is not positive, so that nothing overflows.
    tail = tl.exp(-tl.abs(gate))
    silu = gate * tl.where(gate < 0, tail, 1.0) / (1.0 + tail)
    tl.store(out_ptr + row * WIDTH + columns, silu * up, mask=mask)


def silu_mul(out: Tensor, gate_up: Tensor) -> None:
    R, I = out.shape  # noqa: E741, the name of the contract
    if out.numel() == 0:
        return
    block_i = min(BLOCK, triton.next_power_of_2(I))
    with torch.cuda.device(out.get_device()):
        silu_mul_kernel[(R, triton.cdiv(I, block_i))](out, gate_up, WIDTH=I, BLOCK_I=block_i)
