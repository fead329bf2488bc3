"""Causal attention of several prompts' new tokens over their own keys.

Prompt g owns the queries query_bounds[g] to query_bounds[g + 1], and as keys one after another the
spans span_bounds[g] to span_bounds[g + 1]: span i is columns spans[i, 0] to spans[i, 1] of the
store. The prompt's last query sees all its keys, the one before all but the last, and so on: a
prompt may be prefilled in pieces.

    out = softmax(scale q k^T) v over the keys a query sees

Every span but a prompt's last has a multiple of 128 columns: a query's bits do not depend on how
its keys are cut into spans.

Shapes: q [T, H, D], k and v [H_kv, P, D], query_bounds [G + 1], spans [M, 2], span_bounds [G + 1]
        (int64); out [T, H, D]. Query head h reads key head h // (H / H_kv). Keys and values are
        float32, bfloat16 or QuantizedVectors, computed with as float32.
Raises: ValueError when a shape disagrees or H is not a multiple of H_kv; (C++) when bounds leave
        the tensors, a span is cut elsewhere, or a prompt has fewer keys than queries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.ops.store_vectors import Vectors, check_vectors, widen
from t2engine.schema import Cost


def check(
    q: Tensor,
    k: Vectors,
    v: Vectors,
    query_bounds: Tensor,
    spans: Tensor,
    span_bounds: Tensor,
    scale: float,
) -> None:
    op = "prefill_attention"
    check_vectors(op, k=k, v=v)
    expect_rank(op, q=(q, 3), k=(k, 3), query_bounds=(query_bounds, 1), spans=(spans, 2))
    H_kv, P, D = k.shape
    expect_shape(
        op,
        q=(q, [*q.shape[:2], D]),
        v=(v, [H_kv, P, D]),
        spans=(spans, [spans.shape[0], 2]),
        span_bounds=(span_bounds, list(query_bounds.shape)),
    )
    if q.shape[1] % H_kv:
        raise ValueError(f"{op}: q must have a multiple of {H_kv} heads, got {q.shape[1]}")


def cost(
    q: Tensor,
    k: Vectors,
    v: Vectors,
    query_bounds: Tensor,
    spans: Tensor,
    span_bounds: Tensor,
    scale: float,
) -> Cost:
    _, H, D = q.shape
    P = k.shape[1]
    num_queries = query_bounds.diff()  # [G]
    before = torch.cat([spans.new_zeros(1), (spans[:, 1] - spans[:, 0]).cumsum(0)])  # [M + 1]
    num_keys = before[span_bounds].diff()  # [G]
    skipped = num_queries * (num_queries - 1) // 2  # pairs above the diagonal
    pairs = int((num_queries * num_keys - skipped).sum())
    key_bytes = (k.nbytes + v.nbytes) // max(1, P)  # of all key heads
    return Cost(flops=4 * H * D * pairs, bytes=2 * q.nbytes + key_bytes * int(num_keys.sum()))


def reference(
    q: Tensor,
    k: Vectors,
    v: Vectors,
    query_bounds: Tensor,
    spans: Tensor,
    span_bounds: Tensor,
    scale: float,
) -> Tensor:
    wide_k, wide_v = widen(k, q.dtype), widen(v, q.dtype)
    sharers = q.shape[1] // k.shape[0]
    out = torch.empty_like(q)
    for g in range(len(query_bounds) - 1):
        rows = slice(int(query_bounds[g]), int(query_bounds[g + 1]))
        own = spans[int(span_bounds[g]) : int(span_bounds[g + 1])].tolist()
        columns = [column for start, stop in own for column in range(start, stop)]
        keys = wide_k[:, columns].repeat_interleave(sharers, dim=0)  # [H, keys, D]
        values = wide_v[:, columns].repeat_interleave(sharers, dim=0)
        scores = scale * torch.einsum("thd,hpd->htp", q[rows], keys)
        num_queries, num_keys = scores.shape[1:]
        sees = torch.ones(num_queries, num_keys, dtype=torch.bool, device=q.device)
        sees = sees.tril(num_keys - num_queries)
        weights = scores.masked_fill(~sees, float("-inf")).softmax(dim=-1)
        out[rows] = torch.einsum("htp,hpd->thd", weights, values)
    return out


def outputs(q: Tensor, *_: object) -> tuple[Tensor, ...]:
    return (torch.empty_like(q),)


prefill_attention = Op(
    name="prefill_attention",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={"cpp": "t2engine._C:prefill_attention_cpu"},
)
