"""Weights in the order and the precision in which the C++ kernels read them.

Panels of 16 output features: panels[n // 16, k, n % 16] == weight[n, k]. int8 holds codes in quads,
panels[n // 16, k // 4, n % 16, k % 4], and weight[n, k] is about codes[n, k] * scales[n]:

    scales[n] = max |weight[n]| / 127        codes = weight / scales, to the nearest, ties to even

Raises: ValueError for a dtype that is not float32, bfloat16, float16 or int8, and for int8 with
more in_features than fit an exact sum in int32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from t2engine.ops._huge_pages import Arena
from t2engine.ops._op import BackendUnavailableError, load_function

PANEL = 16  # output features in a panel: one AVX-512, two AVX2, four NEON registers of float32
QUAD = 4  # codes of one output feature that lie together: what integer dot products take at once
MAX_CODE = 127  # both ways, so that negation is exact
MAX_CODES_IN_FEATURES = 2**17  # 2^17 products of two codes stay below 2^31
SMALLEST = 2.0**-100  # rows below it are zero: the inverse of their scale is not a normal float32

WEIGHT_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int8)


@dataclass(frozen=True)
class PackedWeight:
    panels: (
        Tensor  # [ceil(N / 16), K, 16]; int8: [ceil(N / 16), ceil(K / 4), 16, 4]; zero past N, K
    )
    out_features: int
    in_features: int
    scales: Tensor | None = None  # int8: [ceil(N / 16) * 16] float32

    @property
    def dtype(self) -> torch.dtype:
        return self.panels.dtype

    @property
    def shape(self) -> tuple[int, int]:
        return self.out_features, self.in_features

    @property
    def nbytes(self) -> int:
        return self.panels.nbytes + (0 if self.scales is None else self.scales.nbytes)

    def rows(self, index: Tensor) -> Tensor:
        """weight[index] as floats, for an embedding that is tied to the output projection."""
        if self.scales is None:
            return self.panels[index // PANEL, :, index % PANEL]
        return self.codes(index).to(self.scales.dtype) * self.scales[index, None]

    def codes(self, index: Tensor) -> Tensor:
        """[len(index), K] of an int8 weight."""
        return self.panels[index // PANEL, :, index % PANEL].flatten(1)[:, : self.in_features]

    def unpack(self) -> Tensor:
        return self.rows(torch.arange(self.out_features))


def quantize(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of each row and its scale: nan when a value is not finite, 0 when all are next to 0."""
    rows = rows.float()
    largest = rows.abs().amax(1)  # nan where a row has one
    finite = largest.isfinite()
    largest = torch.where(finite & (largest >= SMALLEST), largest, 0)
    # Of two tensors: torch would multiply by the reciprocal of one, which rounds twice.
    inverse = torch.where(largest > 0, torch.full_like(largest, MAX_CODE) / largest, 0)
    codes = torch.round(rows.nan_to_num(0, 0, 0) * inverse[:, None]).to(torch.int8)
    return codes, torch.where(finite, largest / torch.full_like(largest, MAX_CODE), torch.nan)


def pack_weight(weight: Tensor, dtype: torch.dtype = torch.float32) -> PackedWeight:
    N, K = weight.shape
    return pack_strips(N, K, [weight], dtype)


def packed_shapes(
    N: int, K: int, dtype: torch.dtype
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Of the panels, and of the scales where there are any, of a weight [N, K]."""
    if dtype not in WEIGHT_DTYPES:
        raise ValueError(f"weights are stored as one of {WEIGHT_DTYPES}, got {dtype}")
    num_panels = -(-N // PANEL)
    if dtype != torch.int8:
        return (num_panels, K, PANEL), None
    if K > MAX_CODES_IN_FEATURES:
        raise ValueError(f"int8 takes at most {MAX_CODES_IN_FEATURES} in_features, got {K}")
    return (num_panels, -(-K // QUAD), PANEL, QUAD), (num_panels * PANEL,)


def pack_strips(
    N: int,
    K: int,
    strips: Iterable[Tensor],
    dtype: torch.dtype = torch.float32,
    threads: int | None = None,
    arena: Arena | None = None,
) -> PackedWeight:
    """Pack a weight [N, K] that comes in strips of rows, all but the last multiples of PANEL.

    threads: None takes torch.get_num_threads(). arena: where the panels lie; None takes their own
    memory.
    """
    shape, scales_shape = packed_shapes(N, K, dtype)
    panels = (arena or Arena()).empty(shape, dtype)
    scales = None if scales_shape is None else torch.zeros(scales_shape)
    first = 0
    for strip in strips:
        last = first + -(-strip.shape[0] // PANEL)
        strip_scales = None if scales is None else scales[first * PANEL : last * PANEL]
        pack_into(panels[first:last], strip_scales, strip, threads or torch.get_num_threads())
        first = last
    assert first == shape[0], "the strips are not the whole weight"
    return PackedWeight(panels, N, K, scales)


def pack_into(panels: Tensor, scales: Tensor | None, weight: Tensor, threads: int) -> None:
    """Natively where the extension is built, which gives the same bits. Writes every code."""
    try:
        native = load_function("t2engine._C:pack_weight_cpu")
    except BackendUnavailableError:
        native = None
    if native is not None and weight.dtype in WEIGHT_DTYPES[:3] and weight.is_contiguous():
        native(panels.view(*panels.shape[:2], -1), scales, weight, threads)
        return
    N, K = weight.shape
    if scales is not None:
        weight, scales[:N] = quantize(weight)
    depth = -(-K // QUAD) * QUAD if scales is not None else K
    padded = torch.zeros(panels.shape[0] * PANEL, depth, dtype=panels.dtype)
    padded[:N, :K] = weight
    if scales is not None:
        panels.copy_(padded.view(-1, PANEL, depth // QUAD, QUAD).transpose(1, 2))
    else:
        panels.copy_(padded.view(-1, PANEL, depth).transpose(1, 2))
