"""Rotate pairs of features by the angle of the row's position (RoPE, half-rotation layout).

With h = rotary_dim / 2, for i < h:
    out[i]     = x[i] cos[i] - x[i + h] sin[i]
    out[i + h] = x[i + h] cos[i] + x[i] sin[i]
and features from rotary_dim on are copied.

Shapes: x [R, H, D], cos [R, h], sin [R, h]; out [R, H, D]. Row r has its own position.
Raises: ValueError when cos and sin differ in shape or rotate more than D features.
Source: Su et al., arXiv:2104.09864; the layout of Hugging Face checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost


def check(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    expect_rank("rotary_embedding", x=(x, 3), cos=(cos, 2))
    half = min(cos.shape[1], x.shape[2] // 2)
    expect_shape("rotary_embedding", cos=(cos, [x.shape[0], half]), sin=(sin, [x.shape[0], half]))


def cost(x: Tensor, cos: Tensor, sin: Tensor) -> Cost:
    R, H, D = x.shape
    return Cost(flops=6 * R * H * cos.shape[1], bytes=4 * (2 * R * H * D + 2 * cos.numel()))


def reference(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = cos.shape[1]
    low, high, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    cos, sin = cos[:, None], sin[:, None]  # [R, 1, half]
    return torch.cat([low * cos - high * sin, high * cos + low * sin, rest], dim=-1)


def outputs(x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
    return (torch.empty_like(x),)


rotary_embedding = Op(
    name="rotary_embedding",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={"cpp": "t2engine._C:rotary_embedding_cpu"},
)
