"""A matrix product with a fixed weight: out = x @ weight.T + bias.

The weight may be packed once at load into panels of 16 output features, the order in which the C++
kernel reads it: panels[n // 16, :, n % 16] == weight[n]. A plain weight is packed on every call.

Shapes: x [R, K], weight [N, K] or PackedWeight of that shape, bias [N] or None; out [R, N].
Raises: ValueError when a shape disagrees with the weight.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost

PANEL = 16  # output features in a panel: one AVX-512, two AVX2, four NEON registers of float32


@dataclass(frozen=True)
class PackedWeight:
    panels: Tensor  # [ceil(N / 16), K, 16] float32, zero past N
    out_features: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.out_features, self.panels.shape[1]

    @property
    def nbytes(self) -> int:
        return self.panels.nbytes

    def rows(self, index: Tensor) -> Tensor:
        """weight[index], for an embedding that is tied to the output projection."""
        return self.panels[index // PANEL, :, index % PANEL]

    def unpack(self) -> Tensor:
        return self.rows(torch.arange(self.out_features))


def pack_weight(weight: Tensor) -> PackedWeight:
    N, K = weight.shape
    return pack_strips(N, K, [weight])


def pack_strips(N: int, K: int, strips: Iterable[Tensor]) -> PackedWeight:
    """Pack a weight [N, K] that comes in strips of rows, all but the last multiples of PANEL."""
    panels = torch.zeros(-(-N // PANEL), K, PANEL)
    first = 0
    for strip in strips:
        whole, rest = divmod(strip.shape[0], PANEL)
        tiles = strip[: whole * PANEL].view(whole, PANEL, K)
        panels[first : first + whole] = tiles.transpose(1, 2)
        if rest:
            panels[first + whole, :, :rest] = strip[whole * PANEL :].T
        first += whole
    return PackedWeight(panels, N)


def check(x: Tensor, weight: Tensor | PackedWeight, bias: Tensor | None) -> None:
    expect_rank("linear", x=(x, 2))
    N, K = weight.shape
    expect_shape("linear", x=(x, [x.shape[0], K]), bias=(bias, [N]))


def cost(x: Tensor, weight: Tensor | PackedWeight, bias: Tensor | None) -> Cost:
    R, (N, K) = x.shape[0], weight.shape
    return Cost(flops=2 * R * N * K, bytes=4 * (R * K + N * K + R * N))


def reference(x: Tensor, weight: Tensor | PackedWeight, bias: Tensor | None) -> Tensor:
    plain = weight.unpack() if isinstance(weight, PackedWeight) else weight
    return torch.nn.functional.linear(x, plain, bias)


def outputs(x: Tensor, weight: Tensor | PackedWeight, bias: Tensor | None) -> tuple[Tensor, ...]:
    return (x.new_empty(x.shape[0], weight.shape[0]),)


def lower(
    x: Tensor, weight: Tensor | PackedWeight, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The kernel takes panels: a plain weight is packed here."""
    packed = weight if isinstance(weight, PackedWeight) else pack_weight(weight)
    return x, packed.panels, bias


linear = Op(
    name="linear",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={"cpp": "t2engine._C:linear_cpu"},
    lower=lower,
)
