"""Triton backend of t2engine/ops/shared_prefix_attention.py, in two launches.

prefix_kernel takes the queries of all rows and sharers of one kv head as the rows of one matrix
product with the prompt's keys, and leaves a state (out, lse) for each split of the keys. The tiles
of all prompts form one list, laid out without asking the device for its row bounds:

    first_tile(g) = floor((row_bounds[g] * sharers + g * (BLOCK_M - 1)) / BLOCK_M)

never gives a prompt too few tiles, and a tile past its prompt's rows ends at once. suffix_kernel
goes on from those states over a row's own keys, so that the merge costs no launch of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2_E = tl.constexpr(1.4426950408889634)  # scores are kept in base 2, where exp is one instruction
LN_2 = tl.constexpr(0.6931471805599453)
LOWEST = tl.constexpr(-3.4028234e38)  # a finite start: -inf - -inf would be nan
SUFFIX_KEYS = 32  # of a tile


class Tiles(NamedTuple):
    """How the prefix product is cut, into queries and keys, and how Triton is to compile it."""

    rows: int
    keys: int
    num_warps: int
    num_stages: int
    precision: str = "ieee"  # of float32 products; tf32x3 sums three tensor-core products


@triton.jit
def online_softmax(scores, top):
    """Weights of base-2 `scores` [M, N] under the new maximum [M], and the factor of the old."""
    new_top = tl.maximum(top, tl.max(scores, axis=1))
    return tl.exp2(scores - new_top[:, None]), new_top, tl.exp2(top - new_top)


@triton.jit
def prompt_of_tile(row_bounds_ptr, num_prompts, tile, SHARERS: tl.constexpr, BLOCK_M: tl.constexpr):
    """The last prompt whose first tile is not past this one."""
    prompt = tl.full((), -1, tl.int32)
    for first in range(0, num_prompts, 128):
        prompts = first + tl.arange(0, 128)
        mask = prompts < num_prompts
        bounds = tl.load(row_bounds_ptr + prompts, mask=mask, other=0)
        first_tiles = (bounds * SHARERS + prompts * (BLOCK_M - 1)) // BLOCK_M
        prompt += tl.sum((mask & (first_tiles <= tile)).to(tl.int32), axis=0)
    return prompt


@triton.jit
def prefix_kernel(
    out_ptr, lse_ptr,  # [splits, R, H, D], [splits, R, H] float32  written
    q_ptr,  # [R, H, D]
    k_ptr, v_ptr,  # [H_kv, P, D]
    prefix_bounds_ptr, row_bounds_ptr,  # [G, 2], [G + 1]
    num_rows, num_prompts, prefix_size, scale,  # R, G, P
    NUM_HEADS: tl.constexpr,
    SHARERS: tl.constexpr,  # query heads to a kv head
    HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,  # power of two >= HEAD_DIM
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    tile = tl.program_id(0)
    kv_head = tl.program_id(1).to(tl.int64)
    split = tl.program_id(2)
    prompt = prompt_of_tile(row_bounds_ptr, num_prompts, tile, SHARERS, BLOCK_M)
    first_row = tl.load(row_bounds_ptr + prompt)
    packed_rows = (tl.load(row_bounds_ptr + prompt + 1) - first_row) * SHARERS
    first_tile = (first_row * SHARERS + prompt * (BLOCK_M - 1)) // BLOCK_M
    packed = (tile - first_tile) * BLOCK_M + tl.arange(0, BLOCK_M)  # [BLOCK_M]
    if (tile - first_tile) * BLOCK_M >= packed_rows:
        return

    # A row and one of its sharers, as one row of [R * H].
    heads = (first_row + packed // SHARERS) * NUM_HEADS + kv_head * SHARERS + packed % SHARERS
    dims = tl.arange(0, BLOCK_D)
    in_rows = packed < packed_rows
    in_dims = dims < HEAD_DIM
    at = heads[:, None] * HEAD_DIM + dims[None, :]  # [BLOCK_M, BLOCK_D]
    q = tl.load(q_ptr + at, mask=in_rows[:, None] & in_dims[None, :], other=0.0)

    first_key = tl.load(prefix_bounds_ptr + 2 * prompt)
    num_keys = (tl.load(prefix_bounds_ptr + 2 * prompt + 1) - first_key).to(tl.int32)
    split_keys = tl.cdiv(tl.cdiv(num_keys, tl.num_programs(2)), BLOCK_N) * BLOCK_N
    start = split * split_keys
    stop = tl.minimum(start + split_keys, num_keys)

    keys = tl.arange(0, BLOCK_N)
    in_tile = keys[:, None] * HEAD_DIM + dims[None, :]  # [BLOCK_N, BLOCK_D]
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    mass = tl.zeros([BLOCK_M], tl.float32)
    top = tl.full([BLOCK_M], LOWEST, tl.float32)
    for key in range(start, stop, BLOCK_N):
        base = (kv_head * prefix_size + first_key + key) * HEAD_DIM
        in_keys = key + keys < stop
        mask = in_keys[:, None] & in_dims[None, :]
        k = tl.load(k_ptr + base + in_tile, mask=mask, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * (scale * LOG2_E)
        scores = tl.where(in_keys[None, :], scores, float("-inf"))  # [BLOCK_M, BLOCK_N]
        weights, top, decay = online_softmax(scores, top)
        mass = mass * decay + tl.sum(weights, axis=1)
        v = tl.load(v_ptr + base + in_tile, mask=mask, other=0.0)
        acc = tl.dot(weights.to(v.dtype), v, acc * decay[:, None], input_precision=PRECISION)

    nonzero = tl.where(mass == 0.0, 1.0, mass)  # no keys in this split: out 0, lse -inf
    lse = tl.where(mass == 0.0, float("-inf"), top * LN_2 + tl.log(nonzero))
    slab = split.to(tl.int64) * num_rows * NUM_HEADS
    tl.store(lse_ptr + slab + heads, lse, mask=in_rows)
    out = acc / nonzero[:, None]
    tl.store(out_ptr + slab * HEAD_DIM + at, out, mask=in_rows[:, None] & in_dims[None, :])


@triton.jit
def suffix_kernel(
    out_ptr,  # [R, H, D]  written
    state_ptr, lse_ptr,  # [splits, R, H, D], [splits, R, H] float32  from prefix_kernel
    q_ptr,  # [R, H, D]
    k_ptr, v_ptr,  # [slots, H_kv, S, D]
    row_slot_ptr, suffix_len_ptr,  # [R], [R]
    splits, suffix_size, scale,  # S
    NUM_HEADS: tl.constexpr,
    SHARERS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_H: tl.constexpr,  # power of two >= SHARERS and 16, the least a matrix product takes
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1)
    sharers = tl.arange(0, BLOCK_H)
    dims = tl.arange(0, BLOCK_D)
    in_heads = sharers < SHARERS
    in_dims = dims < HEAD_DIM
    heads = row * NUM_HEADS + kv_head * SHARERS + sharers  # [BLOCK_H]
    at = heads[:, None] * HEAD_DIM + dims[None, :]  # [BLOCK_H, BLOCK_D]
    mask = in_heads[:, None] & in_dims[None, :]
    q = tl.load(q_ptr + at, mask=mask, other=0.0)

    acc = tl.zeros([BLOCK_H, BLOCK_D], tl.float32)
    mass = tl.zeros([BLOCK_H], tl.float32)
    top = tl.full([BLOCK_H], LOWEST, tl.float32)
    for split in range(0, splits):
        slab = split * tl.num_programs(0).to(tl.int64) * NUM_HEADS
        lse = tl.load(lse_ptr + slab + heads, mask=in_heads, other=float("-inf")) * LOG2_E
        state = tl.load(state_ptr + slab * HEAD_DIM + at, mask=mask, other=0.0)
        weights, top, decay = online_softmax(lse[:, None], top)  # [BLOCK_H, 1]
        mass = mass * decay + tl.sum(weights, axis=1)
        acc = acc * decay[:, None] + weights * state

    kv_heads: tl.constexpr = NUM_HEADS // SHARERS
    slot = tl.load(row_slot_ptr + row)
    num_keys = tl.load(suffix_len_ptr + row).to(tl.int32)
    keys = tl.arange(0, BLOCK_N)
    in_tile = keys[:, None] * HEAD_DIM + dims[None, :]  # [BLOCK_N, BLOCK_D]
    for key in range(0, num_keys, BLOCK_N):
        base = ((slot * kv_heads + kv_head) * suffix_size + key) * HEAD_DIM
        in_keys = key + keys < num_keys
        key_mask = in_keys[:, None] & in_dims[None, :]
        k = tl.load(k_ptr + base + in_tile, mask=key_mask, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * (scale * LOG2_E)
        scores = tl.where(in_keys[None, :], scores, float("-inf"))  # [BLOCK_H, BLOCK_N]
        weights, top, decay = online_softmax(scores, top)
        mass = mass * decay + tl.sum(weights, axis=1)
        v = tl.load(v_ptr + base + in_tile, mask=key_mask, other=0.0)
        acc = tl.dot(weights.to(v.dtype), v, acc * decay[:, None], input_precision=PRECISION)

    out = acc / tl.where(mass == 0.0, 1.0, mass)[:, None]  # no keys at all: 0
    tl.store(out_ptr + at, out, mask=mask)


def choose_tiles(element_size: int, head_dim: int, packed_rows: int) -> Tiles:
    """Tiles that compile without spills, which tests/kernels checks; untimed, as OWED.md says."""
    few = packed_rows <= 16  # 16 rows are the least a matrix product takes
    if element_size == 4 and head_dim > 128:
        return Tiles(rows=16, keys=16, num_warps=8, num_stages=2, precision="ieee")
    if element_size == 4:
        return Tiles(16 if few or head_dim > 64 else 32, 32, 8, 2, precision="tf32x3")
    if head_dim > 128:
        return Tiles(16 if few else 64, 32, 8, 2)
    if few:
        return Tiles(16, 64, 4, 3)
    return Tiles(64, 64, 4 if head_dim <= 64 else 8, 3 if head_dim <= 64 else 2)


def suffix_options(head_dim: int) -> dict[str, int]:
    wide = head_dim > 128
    return {"num_warps": 8 if wide else 4, "num_stages": 2 if wide else 3}


def choose_splits(tiles: Tiles, q: Tensor, prefix_k: Tensor, num_prompts: int) -> int:
    """Enough to give every processor a program, each with at least two tiles of keys."""
    (R, H, _), (H_kv, P, _) = q.shape, prefix_k.shape
    if P == 0:
        return 0
    programs = H_kv * max_tiles(R * (H // H_kv), num_prompts, tiles.rows)
    processors = 1
    if q.is_cuda:
        processors = torch.cuda.get_device_properties(q.device).multi_processor_count
    return max(1, min(processors // programs, P // num_prompts // (2 * tiles.keys)))


def max_tiles(packed_rows: int, num_prompts: int, tile_rows: int) -> int:
    """first_tile of the prompt after the last: tiles that suffice however rows are divided."""
    return (packed_rows + num_prompts * (tile_rows - 1)) // tile_rows


def shared_prefix_attention(
    out: Tensor,
    q: Tensor,
    prefix_k: Tensor,
    prefix_v: Tensor,
    prefix_bounds: Tensor,
    row_bounds: Tensor,
    suffix_k: Tensor,
    suffix_v: Tensor,
    row_slot: Tensor,
    suffix_len: Tensor,
    scale: float,
    *,
    tiles: Tiles | None = None,
    splits: int | None = None,
) -> None:
    """tiles and splits (of a prompt's keys; 0 only when there are none) are chosen by shape."""
    if q.numel() == 0:
        return
    (R, H, D), (H_kv, P, _), S = q.shape, prefix_k.shape, suffix_k.shape[2]
    num_prompts, sharers = prefix_bounds.shape[0], H // H_kv
    if tiles is None:
        tiles = choose_tiles(q.element_size(), D, triton.cdiv(R * sharers, num_prompts))
    if splits is None:
        splits = choose_splits(tiles, q, prefix_k, num_prompts)
    state = q.new_empty(splits, R, H, D, dtype=torch.float32)
    lse = q.new_empty(splits, R, H, dtype=torch.float32)
    head = {"NUM_HEADS": H, "SHARERS": sharers, "HEAD_DIM": D, "PRECISION": tiles.precision}
    head["BLOCK_D"] = max(16, triton.next_power_of_2(D))
    with torch.cuda.device(q.get_device()):
        if splits > 0:
            grid = (max_tiles(R * sharers, num_prompts, tiles.rows), H_kv, splits)
            prefix_kernel[grid](
                state, lse, q, prefix_k, prefix_v, prefix_bounds, row_bounds,
                R, num_prompts, P, scale, **head, BLOCK_M=tiles.rows, BLOCK_N=tiles.keys,
                num_warps=tiles.num_warps, num_stages=tiles.num_stages,
            )  # fmt: skip
        suffix_kernel[(R, H_kv)](
            out, state, lse, q, suffix_k, suffix_v, row_slot, suffix_len,
            splits, S, scale, **head, BLOCK_H=max(16, triton.next_power_of_2(sharers)),
            BLOCK_N=SUFFIX_KEYS, **suffix_options(D),
        )  # fmt: skip
