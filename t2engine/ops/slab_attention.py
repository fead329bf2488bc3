"""One decode step's attention on a GPU: shared segments as in tree_attention, own keys in slabs.

Segment m is columns segment_columns[m, 0] to segment_columns[m, 1] of the prefix store, seen by the
rows segment_rows[m, 0] to segment_rows[m, 1], which nest depth first. A row's keys are those of the
segments that contain it, and its own of the steps first[r] to last[r], both included: step t is
column t % T of the chunk row_chunk[t // T % B, r], as rope_append stores it.

    out = softmax(scale q [keys]^T) [values]

Shapes: q [H_kv, R, G, D] (G query heads to a key head, as rope_append packs them), prefix_k and
        prefix_v [H_kv, P, D], segment_columns and segment_rows [M, 2], slab_k and slab_v
        [chunks, H_kv, T, D], row_chunk [B, R], first and last [R] (all int64);
        out [R, H_kv G, D]. q, keys, values and out are of one dtype; sums are float32.
Units:  first and last in steps; last < first is none. No keys at all gives out = 0.
        segment_columns and segment_rows are read by the host: on a GPU, that waits for it.
Raises: ValueError when a shape disagrees, or segments do not nest or leave the store; nothing looks
        at what the device alone knows (first, last, row_chunk).
Source: Hydragen, arXiv:2402.05099, sections 3.1 and 3.4; FlashDecoding, arXiv:2311.01282 (splits).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from t2engine.ops._attention_plan import AttentionPlan, Segment, plan_attention
from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost


def check(
    q: Tensor,
    prefix_k: Tensor,
    prefix_v: Tensor,
    segment_columns: Tensor,
    segment_rows: Tensor,
    slab_k: Tensor,
    slab_v: Tensor,
    row_chunk: Tensor,
    first: Tensor,
    last: Tensor,
    scale: float,
) -> None:
    op = "slab_attention"
    expect_rank(op, q=(q, 4), prefix_k=(prefix_k, 3), slab_k=(slab_k, 4), row_chunk=(row_chunk, 2))
    expect_rank(op, segment_columns=(segment_columns, 2))
    H_kv, R, _, D = q.shape
    chunks, _, T, _ = slab_k.shape
    M = segment_columns.shape[0]
    expect_shape(
        op,
        prefix_k=(prefix_k, [H_kv, prefix_k.shape[1], D]),
        prefix_v=(prefix_v, list(prefix_k.shape)),
        segment_columns=(segment_columns, [M, 2]),
        segment_rows=(segment_rows, [M, 2]),
        slab_k=(slab_k, [chunks, H_kv, T, D]),
        slab_v=(slab_v, [chunks, H_kv, T, D]),
        row_chunk=(row_chunk, [row_chunk.shape[0], R]),
        first=(first, [R]),
        last=(last, [R]),
    )


def cost(
    q: Tensor,
    prefix_k: Tensor,
    prefix_v: Tensor,
    segment_columns: Tensor,
    segment_rows: Tensor,
    slab_k: Tensor,
    slab_v: Tensor,
    row_chunk: Tensor,
    first: Tensor,
    last: Tensor,
    scale: float,
) -> Cost:
    H_kv, _, G, D = q.shape
    rows = segment_rows[:, 1] - segment_rows[:, 0]  # [M]
    keys = segment_columns[:, 1] - segment_columns[:, 0]  # [M]
    own = int((last + 1 - first).clamp(min=0).sum())
    pairs = int((rows * keys).sum()) + own
    keys_read = int(keys[rows > 0].sum()) + own
    return Cost(
        flops=4 * H_kv * G * D * pairs,
        bytes=q.element_size() * (2 * q.numel() + 2 * H_kv * D * keys_read),
    )


def reference(
    q: Tensor,
    prefix_k: Tensor,
    prefix_v: Tensor,
    segment_columns: Tensor,
    segment_rows: Tensor,
    slab_k: Tensor,
    slab_v: Tensor,
    row_chunk: Tensor,
    first: Tensor,
    last: Tensor,
    scale: float,
) -> Tensor:
    H_kv, R, G, D = q.shape
    T, B = slab_k.shape[2], row_chunk.shape[0]
    out = q.new_zeros(R, H_kv, G, D)
    spans = segments_of(segment_columns, segment_rows)
    for row in range(R):
        steps = torch.arange(int(first[row]), int(last[row]) + 1, device=q.device)
        chunk = row_chunk[steps // T % B, row]

        def own(prefix: Tensor, slab: Tensor) -> Tensor:  # [H_kv, keys, D]
            shared = [prefix[:, start:stop] for start, stop, a, b in spans if a <= row < b]  # noqa: B023
            return torch.cat([*shared, slab[chunk, :, steps % T].transpose(0, 1)], dim=1)  # noqa: B023

        keys = own(prefix_k, slab_k)
        if keys.shape[1]:
            weights = (scale * torch.einsum("hgd,hpd->hgp", q[:, row], keys)).softmax(dim=-1)
            out[row] = torch.einsum("hgp,hpd->hgd", weights, own(prefix_v, slab_v))
    return out.view(R, H_kv * G, D)


def outputs(q: Tensor, *_: Any) -> tuple[Tensor, ...]:
    H_kv, R, G, D = q.shape
    return (q.new_empty(R, H_kv * G, D),)


def segments_of(segment_columns: Tensor, segment_rows: Tensor) -> list[Segment]:
    columns, rows = segment_columns.tolist(), segment_rows.tolist()
    return [(*c, *r) for c, r in zip(columns, rows, strict=True)]


def planned(
    plan: AttentionPlan,
    q: Tensor,
    prefix_k: Tensor,
    prefix_v: Tensor,
    slab_k: Tensor,
    slab_v: Tensor,
    row_chunk: Tensor,
    first: Tensor,
    last: Tensor,
    scale: float,
    scratch: tuple[Tensor, Tensor] | None = None,
) -> tuple[Any, ...]:
    """The inputs of a GPU backend's function, after the output.

    scratch: for states [num_states, H, D] and their lse [num_states, H], float32; made when None.
    """
    H_kv, _, G, D = q.shape
    if scratch is None:
        state = q.new_empty(plan.num_states, H_kv * G, D, dtype=torch.float32)
        scratch = state, q.new_empty(plan.num_states, H_kv * G, dtype=torch.float32)
    cut = (plan.items, plan.row_states, plan.row_spans, plan.spans)
    own = (slab_k, slab_v, row_chunk, first, last)
    how = plan.choice if plan.choice.backend == "triton" else plan.choice.kernel
    return (q, prefix_k, prefix_v, *cut, *scratch, *own, scale, how)


def lower(backend: str) -> Any:
    def lowered(
        q: Tensor,
        prefix_k: Tensor,
        prefix_v: Tensor,
        segment_columns: Tensor,
        segment_rows: Tensor,
        *own: Any,
    ) -> tuple[Any, ...]:
        segments, columns = segments_of(segment_columns, segment_rows), prefix_k.shape[1]
        for start, stop, *_ in segments:
            if stop > columns:
                raise ValueError(
                    "slab_attention: segments must lie in the prefix store, got columns "
                    f"{start} to {stop} of {columns}"
                )
        plan = plan_attention(segments, q, backend)
        return planned(plan, q, prefix_k, prefix_v, *own)

    return lowered


slab_attention = Op(
    name="slab_attention",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={
        "cuda": "t2engine._C:slab_attention_cuda",
        "triton": "t2engine.kernels.slab_attention:slab_attention",
    },
    lowering={"cuda": lower("cuda"), "triton": lower("triton")},
)
