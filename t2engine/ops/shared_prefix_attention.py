"""One decode step's attention for many samples, each prompt's keys read once for all its samples.

Row r belongs to prompt g when row_bounds[g] <= r < row_bounds[g + 1]. It attends to the prompt's
keys, prefix_bounds[g, 0] to prefix_bounds[g, 1] of the prefix store, and to its own first
suffix_len[r] keys in slot row_slot[r] of the suffix store.

    out = softmax(scale q [prefix_k; suffix_k]^T) [prefix_v; suffix_v]

The native kernels compute the prefix part as one matrix product over all rows of a prompt and join
it with the suffix part by merge_states' formula. The reference gives every row its own prefix.

Shapes: q [R, H, D], prefix_k and prefix_v [H_kv, P, D], prefix_bounds [G, 2], row_bounds [G + 1],
        suffix_k and suffix_v [slots, H_kv, S, D], row_slot [R], suffix_len [R] (all int64);
        out [R, H, D]. Query head h reads key head h // (H / H_kv).
Units:  no keys at all gives out = 0.
Raises: ValueError when a shape disagrees or H is not a multiple of H_kv; (C++) when bounds, slots
        or lengths leave the tensors.
Source: Hydragen, arXiv:2402.05099, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost


def check(
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
) -> None:
    op = "shared_prefix_attention"
    expect_rank(op, q=(q, 3), prefix_k=(prefix_k, 3), suffix_k=(suffix_k, 4))
    expect_rank(op, row_bounds=(row_bounds, 1))
    R, H, D = q.shape
    H_kv = prefix_k.shape[0]
    slots, _, S, _ = suffix_k.shape
    expect_shape(
        op,
        prefix_k=(prefix_k, [H_kv, prefix_k.shape[1], D]),
        prefix_v=(prefix_v, list(prefix_k.shape)),
        prefix_bounds=(prefix_bounds, [row_bounds.shape[0] - 1, 2]),
        suffix_k=(suffix_k, [slots, H_kv, S, D]),
        suffix_v=(suffix_v, [slots, H_kv, S, D]),
        row_slot=(row_slot, [R]),
        suffix_len=(suffix_len, [R]),
    )
    if H % H_kv:
        raise ValueError(f"{op}: q must have a multiple of {H_kv} heads, got {H}")


def cost(
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
) -> Cost:
    (R, H, D), H_kv = q.shape, prefix_k.shape[0]
    rows = row_bounds.diff()  # [G]
    prefix_len = prefix_bounds[:, 1] - prefix_bounds[:, 0]  # [G]
    pairs = int((rows * prefix_len).sum() + suffix_len.sum())
    keys_read = int(prefix_len[rows > 0].sum() + suffix_len.sum())
    return Cost(
        flops=4 * H * D * pairs,
        bytes=q.element_size() * (2 * R * H * D + 2 * H_kv * D * keys_read),
    )


def reference(
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
) -> Tensor:
    sharers = q.shape[1] // prefix_k.shape[0]
    out = torch.zeros_like(q)
    for g, (start, stop) in enumerate(prefix_bounds.tolist()):
        for row in range(int(row_bounds[g]), int(row_bounds[g + 1])):
            own = suffix_k[row_slot[row], :, : suffix_len[row]]  # [H_kv, suffix_len, D]
            own_v = suffix_v[row_slot[row], :, : suffix_len[row]]
            keys = torch.cat([prefix_k[:, start:stop], own], dim=1).repeat_interleave(sharers, 0)
            values = torch.cat([prefix_v[:, start:stop], own_v], dim=1)
            values = values.repeat_interleave(sharers, 0)  # [H, keys, D]
            if keys.shape[1]:
                weights = (scale * torch.einsum("hd,hpd->hp", q[row], keys)).softmax(dim=-1)
                out[row] = torch.einsum("hp,hpd->hd", weights, values)
    return out


def outputs(q: Tensor, *_: object) -> tuple[Tensor, ...]:
    return (torch.empty_like(q),)


shared_prefix_attention = Op(
    name="shared_prefix_attention",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={"cpp": "t2engine._C:shared_prefix_attention_cpu"},
)
