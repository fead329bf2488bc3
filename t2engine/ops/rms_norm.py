"""Scale each row to unit root mean square: out = x / sqrt(mean(x^2) + eps) * weight.

Shapes: x [R, W], weight [W]; out [R, W].
Raises: ValueError when weight is not as wide as x.
Source: Zhang and Sennrich, arXiv:1910.07467.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost


def check(x: Tensor, weight: Tensor, eps: float) -> None:
    expect_rank("rms_norm", x=(x, 2))
    expect_shape("rms_norm", weight=(weight, [x.shape[1]]))


def cost(x: Tensor, weight: Tensor, eps: float) -> Cost:
    R, W = x.shape
    return Cost(flops=4 * R * W, bytes=4 * (2 * R * W + W))


def reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + eps) * weight


def outputs(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, ...]:
    return (torch.empty_like(x),)


rms_norm = Op(
    name="rms_norm",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={
        "cpp": "t2engine._C:rms_norm_cpu",
        "cuda": "t2engine._C:rms_norm_cuda",
        "triton": "t2engine.kernels.rms_norm:rms_norm",
    },
)
