"""Triton backend of t2engine/ops/slab_attention.py, in two launches, or in one.

prefix_kernel takes one item of the plan and one key head a program: the queries of all rows and
sharers as the rows of one matrix product with keys that they all see. It leaves a state (out, lse)
for each. suffix_kernel goes on from a row's states, in their order, over the spans that the row
reads itself and then its own keys, so that the merge costs no launch of its own; a plan without
items needs this kernel alone.
"""

from __future__ import annotations

from typing import Protocol

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2_E = tl.constexpr(1.4426950408889634)  # scores are kept in base 2, where exp is one instruction
LN_2 = tl.constexpr(0.6931471805599453)
LOWEST = tl.constexpr(-3.4028234e38)  # a finite start: -inf - -inf would be nan
TILE_BYTES = 8192  # of a tile of keys in the suffix kernel; the values have as many


class Tiles(Protocol):
    """How the prefix product is cut: a row of t2engine/ops/_prefix_choices.py."""

    @property
    def tile_rows(self) -> int: ...
    @property
    def tile_keys(self) -> int: ...
    @property
    def num_warps(self) -> int: ...
    @property
    def num_stages(self) -> int: ...
    @property
    def precision(self) -> str: ...


@triton.jit
def load_rows(pointers, in_rows, in_dims, NARROW: tl.constexpr):
    """[M, D], zero where a row or a dimension is not in; NARROW: some dimension is not."""
    if NARROW:
        return tl.load(pointers, mask=in_rows[:, None] & in_dims[None, :], other=0.0)
    else:
        return tl.load(pointers, mask=in_rows[:, None], other=0.0)


@triton.jit
def load_whole(pointers, in_dims, NARROW: tl.constexpr):
    """load_rows where every row is in: without a mask, but for the dimensions."""
    if NARROW:
        return tl.load(pointers, mask=in_dims[None, :], other=0.0)
    else:
        return tl.load(pointers)


@triton.jit
def attend(acc, mass, top, scores, v, log2_scale, PRECISION: tl.constexpr):
    """The running softmax with a tile more: scores [M, N] as multiplied, values [N, D].

    acc [M, D] is relative to 2 ** top and mass [M] is its sum of weights. log2_scale is positive,
    so that the largest score stays the largest.
    """
    new_top = tl.maximum(top, tl.max(scores, axis=1) * log2_scale)
    weights = tl.exp2(scores * log2_scale - new_top[:, None])
    decay = tl.exp2(top - new_top)
    mass = mass * decay + tl.sum(weights, axis=1)
    acc = tl.dot(weights.to(v.dtype), v, acc * decay[:, None], input_precision=PRECISION)
    return acc, mass, new_top


@triton.jit
def attend_some(acc, mass, top, q, k, v, in_keys, log2_scale, PRECISION: tl.constexpr):
    """A tile of keys [N, D] of which some are in, one at least."""
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    scores = tl.where(in_keys[None, :], scores, float("-inf"))
    return attend(acc, mass, top, scores, v, log2_scale, PRECISION)


@triton.jit(do_not_specialize=["num_rows", "prefix_size"])
def prefix_kernel(
    state_ptr, lse_ptr,  # [states, H, D], [states, H] float32  written
    q_ptr,  # [H_kv, R, G, D]
    k_ptr, v_ptr,  # [H_kv, P, D]
    items_ptr, row_states_ptr,  # [W, 6], [R + 1] int32
    num_rows, prefix_size, scale,  # R, P
    SHARERS: tl.constexpr,  # G
    HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,  # power of two >= HEAD_DIM
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    item_ptr = items_ptr + 6 * tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1).to(tl.int64)
    queries = tl.load(item_ptr + 1)
    tile = tl.load(item_ptr + 2)
    if tile >= queries:  # padding
        return
    first_row = tl.load(item_ptr)
    start = tl.load(item_ptr + 3)
    num_keys = tl.load(item_ptr + 4) - start
    index = tl.load(item_ptr + 5)

    NARROW: tl.constexpr = HEAD_DIM < BLOCK_D
    dims = tl.arange(0, BLOCK_D)
    in_dims = dims < HEAD_DIM
    packed = tile + tl.arange(0, BLOCK_M)
    in_rows = packed < queries
    q_ptr += (kv_head * num_rows + first_row) * SHARERS * HEAD_DIM
    q = load_rows(q_ptr + packed[:, None] * HEAD_DIM + dims[None, :], in_rows, in_dims, NARROW)

    keys = tl.arange(0, BLOCK_N)
    in_tile = keys[:, None] * HEAD_DIM + dims[None, :]  # [BLOCK_N, BLOCK_D]
    base = (kv_head * prefix_size + start) * HEAD_DIM
    log2_scale = scale * LOG2_E
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    mass = tl.zeros([BLOCK_M], tl.float32)
    top = tl.full([BLOCK_M], LOWEST, tl.float32)
    # float32 products keep q in so many registers that two loops do not fit beside it.
    PEELED: tl.constexpr = q.dtype.primitive_bitwidth == 16
    whole = num_keys // BLOCK_N * BLOCK_N if PEELED else 0
    if PEELED:
        for key in range(0, whole, BLOCK_N):
            at = base + key * HEAD_DIM
            k = load_whole(k_ptr + at + in_tile, in_dims, NARROW)
            v = load_whole(v_ptr + at + in_tile, in_dims, NARROW)
            scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)
            acc, mass, top = attend(acc, mass, top, scores, v, log2_scale, PRECISION)
    for key in tl.range(whole, num_keys, BLOCK_N, num_stages=1 if PEELED else None):
        at = base + key * HEAD_DIM
        in_keys = key + keys < num_keys
        k = load_rows(k_ptr + at + in_tile, in_keys, in_dims, NARROW)
        v = load_rows(v_ptr + at + in_tile, in_keys, in_dims, NARROW)
        acc, mass, top = attend_some(acc, mass, top, q, k, v, in_keys, log2_scale, PRECISION)

    rows = first_row + packed // SHARERS
    states = tl.load(row_states_ptr + rows, mask=in_rows, other=0).to(tl.int64) + index
    heads = states * tl.num_programs(1) + kv_head  # [BLOCK_M], of [states * H_kv]
    at = heads * SHARERS + packed % SHARERS
    tl.store(lse_ptr + at, top * LN_2 + tl.log(mass), mask=in_rows)
    at = at[:, None] * HEAD_DIM + dims[None, :]
    tl.store(state_ptr + at, acc / mass[:, None], mask=in_rows[:, None] & in_dims[None, :])


@triton.jit
def chunk_of(row_chunk_ptr, steps, last, row, num_rows, ring, SLAB: tl.constexpr):
    """The chunks that hold a row's keys of these steps, none of which is read past the last."""
    at = (steps // SLAB % ring) * num_rows + row
    return tl.load(row_chunk_ptr + at, mask=steps <= last, other=0).to(tl.int32)


@triton.jit(do_not_specialize=["prefix_size", "ring"])
def suffix_kernel(
    out_ptr,  # [R, H, D]  written
    q_ptr,  # [H_kv, R, G, D]
    k_ptr, v_ptr,  # [H_kv, P, D]
    row_states_ptr, row_spans_ptr, spans_ptr,  # [R + 1], [R + 1], [I, 2] int32
    state_ptr, lse_ptr,  # [states, H, D], [states, H] float32  from prefix_kernel
    slab_k_ptr, slab_v_ptr,  # [chunks, H_kv, T, D]
    row_chunk_ptr, first_ptr, last_ptr,  # [B, R], [R], [R] int64
    prefix_size, ring, scale,  # P, B
    SHARERS: tl.constexpr,  # G
    HEAD_DIM: tl.constexpr,
    SLAB: tl.constexpr,  # T
    BLOCK_H: tl.constexpr,  # power of two >= SHARERS and 16, the least a matrix product takes
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1).to(tl.int64)
    num_rows = tl.num_programs(0).to(tl.int64)
    kv_heads = tl.num_programs(1)
    NARROW: tl.constexpr = HEAD_DIM < BLOCK_D
    dims = tl.arange(0, BLOCK_D)
    in_dims = dims < HEAD_DIM
    sharers = tl.arange(0, BLOCK_H)
    in_heads = sharers < SHARERS
    in_row = sharers[:, None] * HEAD_DIM + dims[None, :]  # [BLOCK_H, BLOCK_D]
    q_ptr += (kv_head * num_rows + row) * SHARERS * HEAD_DIM
    q = load_rows(q_ptr + in_row, in_heads, in_dims, NARROW)
    log2_scale = scale * LOG2_E
    # States read before the first of them is merged: wide products leave room for fewer.
    STATES_AHEAD: tl.constexpr = 4 if BLOCK_D * q.dtype.primitive_bitwidth <= 2048 else 2

    acc = tl.zeros([BLOCK_H, BLOCK_D], tl.float32)
    mass = tl.zeros([BLOCK_H], tl.float32)
    top = tl.full([BLOCK_H], LOWEST, tl.float32)
    begin = tl.load(row_states_ptr + row)
    end = tl.load(row_states_ptr + row + 1)
    for ahead in range(begin, end, STATES_AHEAD):
        for index in tl.static_range(STATES_AHEAD):  # one past the end weighs nothing
            in_states = sharers < tl.where(ahead + index < end, SHARERS, 0)
            head = ((ahead + index) * kv_heads + kv_head) * SHARERS  # int64
            lse = tl.load(lse_ptr + head + sharers, mask=in_states, other=float("-inf")) * LOG2_E
            state = load_rows(state_ptr + head * HEAD_DIM + in_row, in_states, in_dims, NARROW)
            new_top = tl.maximum(top, lse)
            weight, decay = tl.exp2(lse - new_top), tl.exp2(top - new_top)
            acc = acc * decay[:, None] + weight[:, None] * state
            mass, top = mass * decay + weight, new_top

    keys = tl.arange(0, BLOCK_N)
    in_tile = keys[:, None] * HEAD_DIM + dims[None, :]  # [BLOCK_N, BLOCK_D]
    begin = tl.load(row_spans_ptr + row)
    end = tl.load(row_spans_ptr + row + 1)
    for index in range(begin, end):
        start = tl.load(spans_ptr + 2 * index)
        stop = tl.load(spans_ptr + 2 * index + 1)
        for key in range(start, stop, BLOCK_N):
            at = (kv_head * prefix_size + key) * HEAD_DIM
            in_keys = key + keys < stop
            k = load_rows(k_ptr + at + in_tile, in_keys, in_dims, NARROW)
            v = load_rows(v_ptr + at + in_tile, in_keys, in_dims, NARROW)
            acc, mass, top = attend_some(acc, mass, top, q, k, v, in_keys, log2_scale, PRECISION)

    first = tl.load(first_ptr + row).to(tl.int32)
    last = tl.load(last_ptr + row).to(tl.int32)
    # A block of keys may lie in several chunks; their numbers are asked for a block ahead.
    chunk = chunk_of(row_chunk_ptr, first + keys, last, row, num_rows, ring, SLAB)
    for step in range(first, last + 1, BLOCK_N):
        steps = step + keys
        in_keys = steps <= last
        at = (
            (chunk.to(tl.int64) * kv_heads + kv_head) * SLAB + steps % SLAB
        ) * HEAD_DIM  # [BLOCK_N]
        at = at[:, None] + dims[None, :]
        chunk = chunk_of(row_chunk_ptr, steps + BLOCK_N, last, row, num_rows, ring, SLAB)
        k = load_rows(slab_k_ptr + at, in_keys, in_dims, NARROW)
        v = load_rows(slab_v_ptr + at, in_keys, in_dims, NARROW)
        acc, mass, top = attend_some(acc, mass, top, q, k, v, in_keys, log2_scale, PRECISION)

    out = acc / tl.where(mass == 0.0, 1.0, mass)[:, None]  # no keys at all: 0
    out_ptr += (row * kv_heads + kv_head) * SHARERS * HEAD_DIM
    tl.store(out_ptr + in_row, out, mask=in_heads[:, None] & in_dims[None, :])


def block_dims(head_dim: int) -> int:
    return max(16, triton.next_power_of_2(head_dim))


def suffix_keys(head_dim: int, element_size: int) -> int:
    """Keys of a tile of the suffix kernel: a row's bits depend on it, so nothing else may."""
    return max(16, TILE_BYTES // (block_dims(head_dim) * element_size))


def suffix_options(head_dim: int) -> dict[str, int]:
    wide = head_dim > 128
    return {"num_warps": 8 if wide else 4, "num_stages": 2 if wide else 3}


def slab_attention(
    out: Tensor,
    q: Tensor,
    prefix_k: Tensor,
    prefix_v: Tensor,
    items: Tensor,
    row_states: Tensor,
    row_spans: Tensor,
    spans: Tensor,
    state: Tensor,
    lse: Tensor,
    slab_k: Tensor,
    slab_v: Tensor,
    row_chunk: Tensor,
    first: Tensor,
    last: Tensor,
    scale: float,
    choice: Tiles,
) -> None:
    """items, row_states, row_spans and spans are those of a plan made for this choice."""
    if q.numel() == 0:
        return
    (H_kv, R, G, D), P, T = q.shape, prefix_k.shape[1], slab_k.shape[2]
    head = {"SHARERS": G, "HEAD_DIM": D, "BLOCK_D": block_dims(D), "PRECISION": choice.precision}
    with torch.cuda.device(q.get_device()):
        if items.shape[0] > 0:
            prefix_kernel[(items.shape[0], H_kv)](
                state, lse, q, prefix_k, prefix_v, items, row_states, R, P, scale,
                **head, BLOCK_M=choice.tile_rows, BLOCK_N=choice.tile_keys,
                num_warps=choice.num_warps, num_stages=choice.num_stages,
            )  # fmt: skip
        suffix_kernel[(R, H_kv)](
            out, q, prefix_k, prefix_v, row_states, row_spans, spans, state, lse,
            slab_k, slab_v, row_chunk, first, last, P, row_chunk.shape[0], scale,
            **head, SLAB=T, BLOCK_H=max(16, triton.next_power_of_2(G)),
            BLOCK_N=suffix_keys(D, q.element_size()), **suffix_options(D),
        )  # fmt: skip
