"""One decode step's attention for samples that share their prompts' parts as a tree.

Segment m is columns segment_columns[m, 0] to segment_columns[m, 1] of the prefix store, seen by the
rows segment_rows[m, 0] to segment_rows[m, 1]. A row's prefix is the segments that contain it, in
order of m; then come its own first suffix_len[r] keys in slot row_slot[r] of the suffix store.

    out = softmax(scale q [prefix_k; suffix_k]^T) [prefix_v; suffix_v]

Rows are ordered depth first: the rows of a segment nest in those of the segments before it. Every
segment but a row's last has a multiple of 128 columns. A row's bits then do not depend on how its
prefix is cut into segments, nor on who shares them. The kernel reads a segment once for at most 256
queries of a key head; the reference gives every row its own keys.

Shapes: q [R, H, D], prefix_k and prefix_v [H_kv, P, D], segment_columns and segment_rows [M, 2],
        suffix_k and suffix_v [slots, H_kv, S, D], row_slot [R], suffix_len [R] (all int64);
        out [R, H, D]. Query head h reads key head h // (H / H_kv). Keys and values are float32,
        bfloat16 or QuantizedVectors, computed with as float32.
Units:  no keys at all gives out = 0.
Raises: ValueError when a shape disagrees or H is not a multiple of H_kv; (C++) when segments, slots
        or lengths leave the tensors, or segments do not nest.
Source: Hydragen, arXiv:2402.05099, sections 3.1 and 3.4 (hierarchical sharing).
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.ops.store_vectors import Vectors, check_vectors, widen
from t2engine.schema import Cost

SHARING_BLOCK = 128  # keys: every segment but a row's last has a multiple of so many


def check(
    q: Tensor,
    prefix_k: Vectors,
    prefix_v: Vectors,
    segment_columns: Tensor,
    segment_rows: Tensor,
    suffix_k: Vectors,
    suffix_v: Vectors,
    row_slot: Tensor,
    suffix_len: Tensor,
    scale: float,
) -> None:
    op = "tree_attention"
    stores = {
        "prefix_k": prefix_k,
        "prefix_v": prefix_v,
        "suffix_k": suffix_k,
        "suffix_v": suffix_v,
    }
    check_vectors(op, **stores)
    expect_rank(op, q=(q, 3), prefix_k=(prefix_k, 3), suffix_k=(suffix_k, 4))
    expect_rank(op, segment_columns=(segment_columns, 2))
    R, H, D = q.shape
    H_kv, P, _ = prefix_k.shape
    slots, _, S, _ = suffix_k.shape
    M = segment_columns.shape[0]
    expect_shape(
        op,
        prefix_k=(prefix_k, [H_kv, P, D]),
        prefix_v=(prefix_v, [H_kv, P, D]),
        segment_columns=(segment_columns, [M, 2]),
        segment_rows=(segment_rows, [M, 2]),
        suffix_k=(suffix_k, [slots, H_kv, S, D]),
        suffix_v=(suffix_v, [slots, H_kv, S, D]),
        row_slot=(row_slot, [R]),
        suffix_len=(suffix_len, [R]),
    )
    if H % H_kv:
        raise ValueError(f"{op}: q must have a multiple of {H_kv} heads, got {H}")


def cost(
    q: Tensor,
    prefix_k: Vectors,
    prefix_v: Vectors,
    segment_columns: Tensor,
    segment_rows: Tensor,
    suffix_k: Vectors,
    suffix_v: Vectors,
    row_slot: Tensor,
    suffix_len: Tensor,
    scale: float,
) -> Cost:
    (_, H, D), H_kv = q.shape, prefix_k.shape[0]
    rows = segment_rows[:, 1] - segment_rows[:, 0]  # [M]
    keys = segment_columns[:, 1] - segment_columns[:, 0]  # [M]
    pairs = int((rows * keys).sum() + suffix_len.sum())

    def bytes_of(store: Vectors) -> float:
        return store.nbytes / max(1, store.shape.numel() // D)  # a vector's

    prefix_bytes = int(keys[rows > 0].sum()) * H_kv * (bytes_of(prefix_k) + bytes_of(prefix_v))
    suffix_bytes = int(suffix_len.sum()) * H_kv * (bytes_of(suffix_k) + bytes_of(suffix_v))
    return Cost(
        flops=4 * H * D * pairs,
        bytes=2 * q.nbytes + int(prefix_bytes) + int(suffix_bytes),
    )


def reference(
    q: Tensor,
    prefix_k: Vectors,
    prefix_v: Vectors,
    segment_columns: Tensor,
    segment_rows: Tensor,
    suffix_k: Vectors,
    suffix_v: Vectors,
    row_slot: Tensor,
    suffix_len: Tensor,
    scale: float,
) -> Tensor:
    stores = (prefix_k, prefix_v, suffix_k, suffix_v)
    prefix_keys, prefix_values, suffix_keys, suffix_values = (widen(x, q.dtype) for x in stores)
    segments = [
        (*columns, *rows)
        for columns, rows in zip(segment_columns.tolist(), segment_rows.tolist(), strict=True)
    ]
    sharers = q.shape[1] // prefix_keys.shape[0]
    out = torch.zeros_like(q)
    for row, (slot, length) in enumerate(zip(row_slot.tolist(), suffix_len.tolist(), strict=True)):
        spans = [(start, stop) for start, stop, first, end in segments if first <= row < end]

        def own(prefix: Tensor, suffix: Tensor) -> Tensor:  # [H, keys, D]
            parts = [*(prefix[:, start:stop] for start, stop in spans), suffix[slot, :, :length]]  # noqa: B023
            return torch.cat(parts, dim=1).repeat_interleave(sharers, 0)

        keys = own(prefix_keys, suffix_keys)
        if keys.shape[1]:
            weights = (scale * torch.einsum("hd,hpd->hp", q[row], keys)).softmax(dim=-1)
            out[row] = torch.einsum("hp,hpd->hd", weights, own(prefix_values, suffix_values))
    return out


def outputs(q: Tensor, *_: object) -> tuple[Tensor, ...]:
    return (torch.empty_like(q),)


tree_attention = Op(
    name="tree_attention",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={"cpp": "t2engine._C:tree_attention_cpu"},
)
