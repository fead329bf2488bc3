"""A matrix product with a fixed weight: out = x @ weight.T + bias.

The weight may be packed once at load (t2engine/ops/_packed_weight.py) into the order in which the
C++ kernel reads it; a plain weight is packed on every call. It is stored as float32, bfloat16,
float16 or int8. The floating-point types are exact: the product is that of their values, in
float32; with weights in 16 bits a matrix unit splits both sides into exact parts and adds their
products, which comes nearer to the exact sum. int8 multiplies codes of the weight by codes of x,
each row with its own scale, and sums exactly:

    x_scale = max |x[r]| / 127        x_codes = x[r] / x_scale, to the nearest, ties to even
    out[r, n] = float(sum_k x_codes[r, k] weight_codes[n, k]) * (x_scale * scales[n]) + bias[n]

On a GPU, torch multiplies unless triton is named: that takes plain weights of x's dtype alone, and
a row of its out has the same bits whatever the other rows are and however many.

Shapes: x [R, K], weight [N, K] or PackedWeight of that shape, bias [N] or None; out [R, N].
Raises: ValueError when a shape disagrees with the weight, or triton is given a packed weight or one
        of another dtype than x.
An infinity or a nan in a row of x reaches that row of out as in any sum; with int8, or in a matrix
unit, as nan.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.ops._packed_weight import PackedWeight, pack_weight, quantize
from t2engine.schema import Cost


def check(x: Tensor, weight: Tensor | PackedWeight, bias: Tensor | None) -> None:
    expect_rank("linear", x=(x, 2))
    N, K = weight.shape
    expect_shape("linear", x=(x, [x.shape[0], K]), bias=(bias, [N]))


def cost(x: Tensor, weight: Tensor | PackedWeight, bias: Tensor | None) -> Cost:
    R, (N, K) = x.shape[0], weight.shape
    return Cost(flops=2 * R * N * K, bytes=4 * (R * K + R * N) + weight.nbytes)


def reference(x: Tensor, weight: Tensor | PackedWeight, bias: Tensor | None) -> Tensor:
    if not isinstance(weight, PackedWeight):
        return torch.nn.functional.linear(x, weight, bias)
    if weight.scales is None:
        return torch.nn.functional.linear(x, weight.unpack().to(x.dtype), bias)
    every = torch.arange(weight.out_features)
    codes, x_scales = quantize(x)
    # Exact in float64 whatever the order: sums of integers far below 2^53.
    sums = codes.double() @ weight.codes(every).double().T
    out = sums.to(x.dtype) * (x_scales.to(x.dtype)[:, None] * weight.scales[every].to(x.dtype))
    return out if bias is None else out + bias


def outputs(x: Tensor, weight: Tensor | PackedWeight, bias: Tensor | None) -> tuple[Tensor, ...]:
    return (x.new_empty(x.shape[0], weight.shape[0]),)


def lower(
    x: Tensor, weight: Tensor | PackedWeight, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """The kernel takes panels [ceil(N / 16), K or ceil(K / 4), 16 or 64] and their scales."""
    packed = weight if isinstance(weight, PackedWeight) else pack_weight(weight)
    panels = packed.panels.view(*packed.panels.shape[:2], packed.panels[:1, :1].numel() or 16)
    return x, panels, packed.scales, bias


linear = Op(
    name="linear",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={
        "cpp": "t2engine._C:linear_cpu",
        "triton": "t2engine.kernels.linear:linear",
    },
    lowering={"cpp": lower},
    by_name=("triton",),  # for invariant mode; torch's product is cuBLAS
)
