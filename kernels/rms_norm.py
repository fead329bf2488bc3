"""Triton backend of t2engine/ops/rms_norm.py. One program per row."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

THREAD_ELEMENTS = 16  # of a row in one thread, about; a row's block depends on its width alone


@triton.jit
def rms_norm_kernel(
    out_ptr,  # [R, W]  written
    x_ptr, weight_ptr,  # [R, W], [W]
    eps,
    WIDTH: tl.constexpr,
    BLOCK_W: tl.constexpr,  # next power of two >= WIDTH
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)  # R*W may pass 2**31
    columns = tl.arange(0, BLOCK_W)
    mask = columns < WIDTH
    x = tl.load(x_ptr + row * WIDTH + columns, mask=mask, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + columns, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x * x, axis=0) / WIDTH
    tl.store(out_ptr + row * WIDTH + columns, x * tl.rsqrt(mean + eps) * weight, mask=mask)


def options(block_w: int) -> dict[str, int]:
    return {"num_warps": min(16, max(1, block_w // (32 * THREAD_ELEMENTS)))}


def rms_norm(out: Tensor, x: Tensor, weight: Tensor, eps: float) -> None:
    R, W = x.shape
    if out.numel() == 0:
        return
    block_w = triton.next_power_of_2(W)
    with torch.cuda.device(x.get_device()):
        rms_norm_kernel[(R,)](
            out, x, weight, eps, WIDTH=W, BLOCK_W=block_w, **options(block_w)
        )  # fmt: skip
