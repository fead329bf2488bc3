"""The Gaussian error linear unit: x Phi(x), exactly or by its tanh approximation.

    exact  0.5 x (1 + erf(x / sqrt(2)))
    tanh   0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))

Shapes: x [R, W]; out [R, W].
Source: Hendrycks and Gimpel, arXiv:1606.08415, section 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank
from t2engine.schema import Cost


def check(x: Tensor, tanh: bool) -> None:
    expect_rank("gelu", x=(x, 2))


def cost(x: Tensor, tanh: bool) -> Cost:
    return Cost(flops=8 * x.numel(), bytes=4 * 2 * x.numel())


def reference(x: Tensor, tanh: bool) -> Tensor:
    return torch.nn.functional.gelu(x, approximate="tanh" if tanh else "none")


def outputs(x: Tensor, tanh: bool) -> tuple[Tensor, ...]:
    return (torch.empty_like(x),)


gelu = Op(
    name="gelu",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={"cpp": "t2engine._C:gelu_cpu"},
)
