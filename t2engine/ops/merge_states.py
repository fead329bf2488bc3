"""Join the attention of two disjoint sets of keys, exactly.

    lse = logaddexp(lse_a, lse_b)
    out = exp(lse_a - lse) * out_a + exp(lse_b - lse) * out_b

Shapes: out_* [S, H, D], lse_* [S, H]; S num_samples, H num_heads, D head_dim.
Units:  lse is a natural logarithm. No keys at all is out = 0, lse = -inf.
Raises: ValueError when a shape disagrees with out_a.
Source: Hydragen, arXiv:2402.05099, the combine step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost


def check(out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor) -> None:
    expect_rank("merge_states", out_a=(out_a, 3))
    S, H, D = out_a.shape
    expect_shape(
        "merge_states", lse_a=(lse_a, [S, H]), out_b=(out_b, [S, H, D]), lse_b=(lse_b, [S, H])
    )


def cost(out_a: Tensor, *_: Tensor) -> Cost:
    S, H, D = out_a.shape
    return Cost(flops=3 * S * H * D, bytes=4 * 3 * S * H * (D + 1))


def reference(out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor) -> tuple[Tensor, Tensor]:
    lse = torch.logaddexp(lse_a, lse_b)  # [S, H]
    floor = lse.clamp(min=torch.finfo(lse.dtype).min)  # -inf - -inf would be nan
    weight_a = torch.exp(lse_a - floor)[..., None]  # [S, H, 1]
    weight_b = torch.exp(lse_b - floor)[..., None]
    return weight_a * out_a + weight_b * out_b, lse


def outputs(out_a: Tensor, lse_a: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(out_a), torch.empty_like(lse_a)


merge_states = Op(
    name="merge_states",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={
        "cpp": "t2engine._C:merge_states_cpu",
        "cuda": "t2engine._C:merge_states_cuda",
        "triton": "t2engine.kernels.merge_states:merge_states",
    },
)
