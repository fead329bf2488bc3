"""The gated activation of a SwiGLU layer: out = silu(gate) * up, silu(x) = x / (1 + exp(-x)).

Shapes: gate_up [R, 2 I], gate in the first I columns; out [R, I].
Raises: ValueError when gate_up has an odd number of columns.
Source: Shazeer, arXiv:2002.05202.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank
from t2engine.schema import Cost


def check(gate_up: Tensor) -> None:
    expect_rank("silu_mul", gate_up=(gate_up, 2))
    if gate_up.shape[1] % 2:
        raise ValueError(
            f"silu_mul: gate_up must have an even number of columns, got {gate_up.shape[1]}"
        )


def cost(gate_up: Tensor) -> Cost:
    R, I2 = gate_up.shape
    return Cost(flops=5 * R * I2 // 2, bytes=4 * 3 * R * I2 // 2)


def reference(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=1)
    return torch.nn.functional.silu(gate) * up


def outputs(gate_up: Tensor) -> tuple[Tensor, ...]:
    return (gate_up.new_empty(gate_up.shape[0], gate_up.shape[1] // 2),)


silu_mul = Op(
    name="silu_mul",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={
        "cpp": "t2engine._C:silu_mul_cpu",
        "cuda": "t2engine._C:silu_mul_cuda",
        "triton": "t2engine.kernels.silu_mul:silu_mul",
    },
)
