"""Centre and scale each row: out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias.

The variance is the biased one (divided by W).

Shapes: x [R, W], weight [W], bias [W]; out [R, W].
Raises: ValueError when weight or bias is not as wide as x.
Source: Ba, Kiros and Hinton, arXiv:1607.06450.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost


def check(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> None:
    expect_rank("layer_norm", x=(x, 2))
    W = x.shape[1]
    expect_shape("layer_norm", weight=(weight, [W]), bias=(bias, [W]))


def cost(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Cost:
    R, W = x.shape
    return Cost(flops=7 * R * W, bytes=4 * (2 * R * W + 2 * W))


def reference(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(dim=1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + eps) * weight + bias


def outputs(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
    return (torch.empty_like(x),)


layer_norm = Op(
    name="layer_norm",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={"cpp": "t2engine._C:layer_norm_cpu"},
)
