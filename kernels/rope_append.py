"""Triton backend of t2engine/ops/rope_append.py. One program per row and key head."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def load_heads(qkv_ptr, bias_ptr, at, mask, BIAS: tl.constexpr):
    """Features of a row's heads with the bias added, in float32. at: where they are in the row."""
    x = tl.load(qkv_ptr + at, mask=mask, other=0.0).to(tl.float32)
    if BIAS:
        x += tl.load(bias_ptr + at, mask=mask, other=0.0).to(tl.float32)
    return x


@triton.jit
def turned(
    qkv_ptr, bias_ptr, norm_ptr, cos_ptr, sin_ptr,  # of this row, of D, of this position
    heads, in_heads, eps,  # [M] in the row
    BIAS: tl.constexpr,
    NORM: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Heads of q or of k [M, BLOCK_D], normalised and rotated."""
    dims = tl.arange(0, BLOCK_D)
    in_dims = dims < HEAD_DIM
    mask = in_heads[:, None] & in_dims[None, :]
    x = load_heads(qkv_ptr, bias_ptr, heads[:, None] * HEAD_DIM + dims[None, :], mask, BIAS)
    if NORM:
        rescale = tl.rsqrt(tl.sum(x * x, axis=1) / HEAD_DIM + eps)[:, None]
        weight = tl.load(norm_ptr + dims, mask=in_dims, other=0.0).to(tl.float32)
        x = x * rescale * weight[None, :]
    if HALF > 0:
        # The other feature of the pair is loaded and normalised once more, from the cache.
        low = dims < HALF
        rotated = dims < 2 * HALF
        other = tl.where(low, dims + HALF, dims - HALF)
        mask = in_heads[:, None] & rotated[None, :]
        y = load_heads(qkv_ptr, bias_ptr, heads[:, None] * HEAD_DIM + other[None, :], mask, BIAS)
        if NORM:
            weight = tl.load(norm_ptr + other, mask=rotated, other=0.0).to(tl.float32)
            y = y * rescale * weight[None, :]
        pair = tl.where(low, dims, dims - HALF)
        cos = tl.load(cos_ptr + pair, mask=rotated, other=1.0)
        sin = tl.load(sin_ptr + pair, mask=rotated, other=0.0)
        x = x * cos[None, :] + y * tl.where(low, -sin, sin)[None, :]
    return x


@triton.jit(do_not_specialize=["num_rows", "positions", "ring", "eps"])
def rope_append_kernel(
    out_ptr,  # [H_kv, R, G, D]  written
    qkv_ptr,  # [R, (H + 2 H_kv) D]
    bias_ptr, q_norm_ptr, k_norm_ptr,  # [(H + 2 H_kv) D], [D], [D]
    cos_ptr, sin_ptr,  # [positions, h] float32
    position_ptr, time_ptr, alive_ptr, row_chunk_ptr,  # [R] three times, [B, R] int64
    slab_k_ptr, slab_v_ptr,  # [chunks, H_kv, T, D]  written
    num_rows, positions, ring, eps,  # R, positions, B
    BIAS: tl.constexpr,
    Q_NORM: tl.constexpr,
    K_NORM: tl.constexpr,
    KV_HEADS: tl.constexpr,  # H_kv
    SHARERS: tl.constexpr,  # G
    SLAB: tl.constexpr,  # T
    HEAD_DIM: tl.constexpr,
    HALF: tl.constexpr,  # h
    BLOCK_G: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)  # R times the width may pass 2**31
    kv_head = tl.program_id(1)
    dims = tl.arange(0, BLOCK_D)
    in_dims = dims < HEAD_DIM
    qkv_ptr += row * ((SHARERS + 2) * KV_HEADS * HEAD_DIM)
    # A row that is not alive may have any position.
    position = tl.load(position_ptr + row)
    position = tl.minimum(tl.maximum(position, 0), positions - 1)
    cos_ptr += position * HALF
    sin_ptr += position * HALF

    sharers = tl.arange(0, BLOCK_G)
    in_heads = sharers < SHARERS
    q = turned(
        qkv_ptr, bias_ptr, q_norm_ptr, cos_ptr, sin_ptr, kv_head * SHARERS + sharers, in_heads,
        eps, BIAS, Q_NORM, HEAD_DIM, HALF, BLOCK_D,
    )  # fmt: skip
    out_ptr += (kv_head.to(tl.int64) * num_rows + row) * (SHARERS * HEAD_DIM)
    at = sharers[:, None] * HEAD_DIM + dims[None, :]
    tl.store(out_ptr + at, q, mask=in_heads[:, None] & in_dims[None, :])

    if tl.load(alive_ptr + row) != 0:
        one = tl.arange(0, 1)
        head = SHARERS * KV_HEADS + kv_head + one
        k = turned(
            qkv_ptr, bias_ptr, k_norm_ptr, cos_ptr, sin_ptr, head, one == 0,
            eps, BIAS, K_NORM, HEAD_DIM, HALF, BLOCK_D,
        )  # fmt: skip
        in_v = (head + KV_HEADS)[:, None] * HEAD_DIM + dims[None, :]
        v = load_heads(qkv_ptr, bias_ptr, in_v, in_dims[None, :], BIAS)
        time = tl.load(time_ptr + row)
        chunk = tl.load(row_chunk_ptr + (time // SLAB % ring) * num_rows + row)
        slab = ((chunk * KV_HEADS + kv_head) * SLAB + time % SLAB) * HEAD_DIM
        to = slab + dims[None, :]  # [1, BLOCK_D]
        tl.store(slab_k_ptr + to, k, mask=in_dims[None, :])
        tl.store(slab_v_ptr + to, v, mask=in_dims[None, :])


def rope_append(
    out: Tensor,
    qkv: Tensor,
    bias: Tensor | None,
    q_norm: Tensor | None,
    k_norm: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    position: Tensor,
    time: Tensor,
    alive: Tensor,
    row_chunk: Tensor,
    slab_k: Tensor,
    slab_v: Tensor,
    eps: float,
) -> None:
    H_kv, R, G, D = out.shape
    if R == 0:
        return
    with torch.cuda.device(qkv.get_device()):
        rope_append_kernel[(R, H_kv)](
            out, qkv,
            # What the model does not have is not read.
            qkv if bias is None else bias, qkv if q_norm is None else q_norm,
            qkv if k_norm is None else k_norm,
            cos, sin, position, time, alive, row_chunk, slab_k, slab_v,
            R, cos.shape[0], row_chunk.shape[0], eps,
            BIAS=bias is not None, Q_NORM=q_norm is not None, K_NORM=k_norm is not None,
            KV_HEADS=H_kv, SHARERS=G, SLAB=slab_k.shape[2], HEAD_DIM=D, HALF=cos.shape[1],
            BLOCK_G=triton.next_power_of_2(G), BLOCK_D=triton.next_power_of_2(D), num_warps=2,
        )  # fmt: skip
