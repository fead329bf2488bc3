"""Mix the features of each row by an orthonormal Hadamard matrix, block by block.

    out[r, b n to (b + 1) n] = x[r, b n to (b + 1) n] H_n
    H_1 = [1],  H_2n = [[H_n, H_n], [H_n, -H_n]] / sqrt(2)

H is symmetric and its own inverse, so (x H) (W H)^T = x W^T. A row whose few largest values stand
out becomes even, and int8 codes, which share the row's largest value as their scale, lose less.

Shapes: x [R, K], block a power of two that divides K; out [R, K].
Raises: ValueError when block is not such a number.
Source: QuIP#, arXiv:2402.04396, section 3; QuaRot, arXiv:2404.00456, section 4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank
from t2engine.schema import Cost

LARGEST_BLOCK = 128


def largest_block(K: int) -> int:
    """The block that mixes most: the largest power of two that divides K, up to a limit."""
    return min(LARGEST_BLOCK, K & -K)


def check(x: Tensor, block: int) -> None:
    expect_rank("hadamard", x=(x, 2))
    K = x.shape[1]
    if block < 1 or block & (block - 1) or K % block:
        raise ValueError(f"hadamard: block must be a power of two that divides {K}, got {block}")


def cost(x: Tensor, block: int) -> Cost:
    return Cost(flops=x.numel() * (block.bit_length() - 1), bytes=2 * x.nbytes)


def reference(x: Tensor, block: int) -> Tensor:
    (R, K), out, half = x.shape, x, 1
    while half < block:
        pairs = out.reshape(R, K // (2 * half), 2, half)
        first, second = pairs.unbind(2)  # [R, K / 2 half, half]
        out = torch.stack([first + second, first - second], dim=2)
        half *= 2
    return out.reshape(R, K) / math.sqrt(block)


def outputs(x: Tensor, block: int) -> tuple[Tensor, ...]:
    return (torch.empty_like(x),)


hadamard = Op(
    name="hadamard",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={"cpp": "t2engine._C:hadamard_cpu"},
)
