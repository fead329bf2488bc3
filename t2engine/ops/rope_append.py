"""Make a decode step's queries and store its keys and values: one pass over the qkv product.

For each row: add the bias, scale the heads of q and k to unit root mean square (where the model has
q_norm and k_norm), rotate q and k by the row's position, store k and v where the row's newest key
goes, and leave q packed, the query heads of one key head side by side.

A row's own keys lie in time slabs of T steps. The key of step t is in column t % T of the chunk
row_chunk[t // T % B, r]: B slabs are a ring. A row that is not alive stores nothing.

Shapes: qkv [R, (H + 2 H_kv) D], bias [(H + 2 H_kv) D] or None, q_norm and k_norm [D] or None, cos
        and sin [positions, h] (float32; 2 h <= D features are rotated, as in rotary_embedding),
        position, time and alive [R], row_chunk [B, R] (all int64), slab_k and slab_v
        [chunks, H_kv, T, D]; out [H_kv, R, H / H_kv, D]. qkv, weights, slabs and out are of one
        dtype; sums are float32.
Units:  position in tokens, time in steps. alive is 0 or 1.
Raises: ValueError when a shape disagrees.
Source: PagedAttention, arXiv:2309.06180 (keys in blocks behind a table); Su et al.,
        arXiv:2104.09864 (rotation).
"""

from __future__ import annotations

from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.ops.rms_norm import rms_norm
from t2engine.ops.rotary_embedding import rotary_embedding
from t2engine.schema import Cost


def check(
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
    op = "rope_append"
    expect_rank(op, qkv=(qkv, 2), cos=(cos, 2), row_chunk=(row_chunk, 2), slab_k=(slab_k, 4))
    R, width = qkv.shape
    _, H_kv, _, D = slab_k.shape
    heads = max(3 * H_kv, width // D // H_kv * H_kv)  # a multiple of H_kv, one query head at least
    half = min(cos.shape[1], D // 2)
    expect_shape(
        op,
        qkv=(qkv, [R, heads * D]),
        bias=(bias, [width]),
        q_norm=(q_norm, [D]),
        k_norm=(k_norm, [D]),
        cos=(cos, [cos.shape[0], half]),
        sin=(sin, list(cos.shape)),
        position=(position, [R]),
        time=(time, [R]),
        alive=(alive, [R]),
        row_chunk=(row_chunk, [row_chunk.shape[0], R]),
        slab_v=(slab_v, list(slab_k.shape)),
    )


def cost(qkv: Tensor, *rest: Tensor | float | None) -> Cost:
    return Cost(flops=6 * qkv.numel(), bytes=2 * qkv.nbytes)


def reference(
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
) -> Tensor:
    R, width = qkv.shape
    _, H_kv, T, D = slab_k.shape
    num_heads = width // D - 2 * H_kv
    qkv = qkv if bias is None else qkv + bias
    heads = qkv.view(R, num_heads + 2 * H_kv, D)
    q, k, v = heads.split([num_heads, H_kv, H_kv], dim=1)

    def turned(x: Tensor, norm: Tensor | None) -> Tensor:
        if norm is not None:
            x = rms_norm.reference(x.reshape(-1, D), norm, eps).view(x.shape)
        return rotary_embedding.reference(x, cos[position].to(x), sin[position].to(x))

    k = turned(k, k_norm)
    rows = alive.nonzero()[:, 0]
    chunk = row_chunk[time[rows] // T % row_chunk.shape[0], rows]
    slab_k[chunk, :, time[rows] % T] = k[rows].to(slab_k.dtype)
    slab_v[chunk, :, time[rows] % T] = v[rows].to(slab_v.dtype)
    return turned(q, q_norm).view(R, H_kv, num_heads // H_kv, D).transpose(0, 1).contiguous()


def outputs(
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
    *rest: Tensor | float,
) -> tuple[Tensor, ...]:
    _, H_kv, _, D = slab_k.shape
    return (qkv.new_empty(H_kv, qkv.shape[0], qkv.shape[1] // D // H_kv - 2, D),)


rope_append = Op(
    name="rope_append",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={
        "cuda": "t2engine._C:rope_append_cuda",
        "triton": "t2engine.kernels.rope_append:rope_append",
    },
)
