"""Triton backend of t2engine/ops/linear.py, for plain weights. One program per tile of out.

A dtype has one tile, and a sum runs over K in one order, so that a row's bits depend neither on how
many rows there are nor on its place among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    rows: int
    columns: int
    depth: int  # of one step along K
    num_warps: int
    num_stages: int


HALF = Tile(rows=64, columns=128, depth=64, num_warps=4, num_stages=4)
TILES = {
    torch.float16: HALF,
    torch.bfloat16: HALF,
    torch.float32: Tile(rows=64, columns=64, depth=32, num_warps=4, num_stages=3),
}


@triton.jit
def load_steps(pointers, depths, k, DEPTH: tl.constexpr, BLOCK_K: tl.constexpr):
    """A step along K of rows [M, BLOCK_K], zero past the end."""
    if DEPTH % BLOCK_K == 0:
        return tl.load(pointers + k)
    else:
        return tl.load(pointers + k, mask=(depths < DEPTH - k)[None, :], other=0.0)


@triton.jit(do_not_specialize=["num_rows"])
def linear_kernel(
    out_ptr,  # [R, N]  written
    x_ptr, weight_ptr, bias_ptr,  # [R, K], [N, K], [N]
    num_rows,  # R
    COLUMNS: tl.constexpr,  # N
    DEPTH: tl.constexpr,  # K
    BIAS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):  # fmt: skip
    # Neighbouring programs share columns, so that the weight is read about once.
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    depths = tl.arange(0, BLOCK_K)
    # Past the end the last row or column is read again; nothing of it is stored.
    x_at = x_ptr + tl.minimum(rows, num_rows - 1)[:, None] * DEPTH + depths[None, :]
    weight_at = weight_ptr + tl.minimum(columns, COLUMNS - 1)[:, None] * DEPTH + depths[None, :]
    acc = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for k in range(0, DEPTH, BLOCK_K):
        x = load_steps(x_at, depths, k, DEPTH, BLOCK_K)
        weight = load_steps(weight_at, depths, k, DEPTH, BLOCK_K)
        acc = tl.dot(x, tl.trans(weight), acc, input_precision="tf32x3")
    in_columns = columns < COLUMNS
    if BIAS:
        bias = tl.load(bias_ptr + columns, mask=in_columns, other=0.0).to(tl.float32)
        acc += bias[None, :]
    mask = (rows < num_rows)[:, None] & in_columns[None, :]
    tl.store(out_ptr + rows[:, None] * COLUMNS + columns[None, :], acc, mask=mask)


def linear(out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if not isinstance(weight, Tensor):
        raise ValueError(
            "linear: weight must be a plain tensor for the triton backend, got a packed one; "
            "unpack() makes it plain"
        )
    if x.dtype not in TILES or weight.dtype != x.dtype:
        raise ValueError(
            f"linear: x and weight must be of one floating-point dtype for the triton backend, "
            f"got {x.dtype} and {weight.dtype}"
        )
    (R, N), K = out.shape, x.shape[1]
    if out.numel() == 0:
        return
    tile = TILES[x.dtype]
    grid = (triton.cdiv(R, tile.rows), triton.cdiv(N, tile.columns))
    with torch.cuda.device(x.get_device()):
        linear_kernel[grid](
            out, x, weight, weight if bias is None else bias, R,
            COLUMNS=N, DEPTH=K, BIAS=bias is not None,
            BLOCK_M=tile.rows, BLOCK_N=tile.columns, BLOCK_K=tile.depth,
            num_warps=tile.num_warps, num_stages=tile.num_stages,
        )  # fmt: skip
