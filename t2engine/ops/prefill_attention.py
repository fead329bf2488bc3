"""Causal attention of several prompts' new tokens over their own keys.

Prompt g owns the queries query_bounds[g] to query_bounds[g + 1] and the keys key_bounds[g, 0] to
key_bounds[g, 1] of the store. Its last query sees all its keys, the one before all but the last,
and so on: a prompt may be prefilled in pieces.

    out = softmax(scale q k^T) v over the keys a query sees

Shapes: q [T, H, D], k and v [H_kv, P, D], query_bounds [G + 1], key_bounds [G, 2] (int64);
        out [T, H, D]. Query head h reads key head h // (H / H_kv).
Raises: ValueError when a shape disagrees or H is not a multiple of H_kv; (C++) when bounds leave
        the tensors or a prompt has fewer keys than queries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost


def check(
    q: Tensor, k: Tensor, v: Tensor, query_bounds: Tensor, key_bounds: Tensor, scale: float
) -> None:
    expect_rank("prefill_attention", q=(q, 3), k=(k, 3), query_bounds=(query_bounds, 1))
    H_kv, P, D = k.shape
    G = query_bounds.shape[0] - 1
    expect_shape(
        "prefill_attention",
        q=(q, [*q.shape[:2], D]),
        v=(v, [H_kv, P, D]),
        key_bounds=(key_bounds, [G, 2]),
    )
    if q.shape[1] % H_kv:
        raise ValueError(
            f"prefill_attention: q must have a multiple of {H_kv} heads, got {q.shape[1]}"
        )


def cost(
    q: Tensor, k: Tensor, v: Tensor, query_bounds: Tensor, key_bounds: Tensor, scale: float
) -> Cost:
    (T, H, D), H_kv = q.shape, k.shape[0]
    num_queries = query_bounds.diff()  # [G]
    num_keys = key_bounds[:, 1] - key_bounds[:, 0]  # [G]
    skipped = num_queries * (num_queries - 1) // 2  # pairs above the diagonal
    pairs = int((num_queries * num_keys - skipped).sum())
    return Cost(
        flops=4 * H * D * pairs,
        bytes=4 * (2 * T * H * D + 2 * H_kv * D * int(num_keys.sum())),
    )


def reference(
    q: Tensor, k: Tensor, v: Tensor, query_bounds: Tensor, key_bounds: Tensor, scale: float
) -> Tensor:
    sharers = q.shape[1] // k.shape[0]
    out = torch.empty_like(q)
    for g, (start, stop) in enumerate(key_bounds.tolist()):
        rows = slice(int(query_bounds[g]), int(query_bounds[g + 1]))
        keys = k[:, start:stop].repeat_interleave(sharers, dim=0)  # [H, keys, D]
        values = v[:, start:stop].repeat_interleave(sharers, dim=0)
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
