"""Triton backend of t2engine/ops/philox_uniform.py. One program per block of rows."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128


@triton.jit
def philox(seed, prompt, sample, step):
    """The uniform of int64 values of any shape, in float64."""
    c0, c1 = step.to(tl.uint32), sample.to(tl.uint32)
    c2, c3 = prompt.to(tl.uint32), (prompt >> 32).to(tl.uint32)
    k0, k1 = seed.to(tl.uint32), (seed >> 32).to(tl.uint32)
    m0 = tl.full(c0.shape, 0xD2511F53, tl.uint32)  # Salmon et al., table 2
    m1 = tl.full(c0.shape, 0xCD9E8D57, tl.uint32)
    w0 = tl.full(c0.shape, 0x9E3779B9, tl.uint32)  # the golden ratio and sqrt(3) - 1
    w1 = tl.full(c0.shape, 0xBB67AE85, tl.uint32)
    for _ in tl.static_range(10):
        high0, low0 = tl.umulhi(m0, c0), m0 * c0
        high1, low1 = tl.umulhi(m1, c2), m1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + w0, k1 + w1
    return (c0 >> 5).to(tl.float64) * 2.0**-27 + (c1 >> 6).to(tl.float64) * 2.0**-53


@triton.jit(do_not_specialize=["num_rows"])
def philox_uniform_kernel(
    out_ptr,  # [R] float64  written
    seed_ptr, prompt_ptr, sample_ptr, step_ptr,  # [R] int64
    num_rows,  # R
    BLOCK_R: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    mask = rows < num_rows
    seed = tl.load(seed_ptr + rows, mask=mask, other=0)
    prompt = tl.load(prompt_ptr + rows, mask=mask, other=0)
    sample = tl.load(sample_ptr + rows, mask=mask, other=0)
    step = tl.load(step_ptr + rows, mask=mask, other=0)
    tl.store(out_ptr + rows, philox(seed, prompt, sample, step), mask=mask)


def philox_uniform(out: Tensor, seed: Tensor, prompt: Tensor, sample: Tensor, step: Tensor) -> None:
    R = seed.shape[0]
    if R == 0:
        return
    with torch.cuda.device(out.get_device()):
        philox_uniform_kernel[(triton.cdiv(R, BLOCK),)](
            out, seed, prompt, sample, step, R, BLOCK_R=BLOCK
        )
