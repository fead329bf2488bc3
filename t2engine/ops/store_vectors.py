"""Write keys or values into a store, in place, in the type it stores them in.

A store is a float32 or bfloat16 tensor [..., D], or QuantizedVectors: int8 codes and one float32
scale for each vector of D. Vector x is stored as

    scale = max |x| / 127,  codes = round(x (127 / max |x|))        x is about codes scale

with ties to even; as 0 when scale would not be a normal number, as nan when an element is not
finite. bfloat16 is rounded to nearest, ties to even.

Shapes: store [N, D], at [T] (int64, distinct), vectors [T, D] float32; nothing is returned.
Raises: ValueError when a shape disagrees or the store has another type; (C++) when `at` leaves the
        store.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost

LARGEST_CODE = 127


@dataclass(frozen=True)
class QuantizedVectors:
    codes: Tensor  # [..., D] int8
    scales: Tensor  # [...] float32

    @property
    def shape(self) -> torch.Size:
        return self.codes.shape

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes

    def flat(self) -> QuantizedVectors:
        return QuantizedVectors(self.codes.flatten(0, -2), self.scales.flatten())


Vectors = Tensor | QuantizedVectors


def empty_vectors(*shape: int, dtype: torch.dtype = torch.float32) -> Vectors:
    """A store [..., D] of float32, bfloat16, or (int8) of codes and scales."""
    if dtype == torch.int8:
        return QuantizedVectors(torch.empty(shape, dtype=dtype), torch.empty(shape[:-1]))
    return torch.empty(shape, dtype=dtype)


def flat_vectors(store: Vectors) -> Vectors:
    """A store [..., D] as one [N, D] of the same memory."""
    return store.flat() if isinstance(store, QuantizedVectors) else store.flatten(0, -2)


def widen(store: Vectors, dtype: torch.dtype) -> Tensor:
    """What the vectors are worth, computed in dtype (but float32 and float64 stay themselves)."""
    if isinstance(store, QuantizedVectors):
        return store.codes.to(dtype) * store.scales[..., None].to(dtype)
    return store.to(dtype)


def quantize(vectors: Tensor) -> QuantizedVectors:
    largest = vectors.abs().amax(dim=-1)
    code = torch.full_like(largest, LARGEST_CODE)  # torch multiplies by a number's reciprocal
    scales = largest / code
    is_normal = (scales >= torch.finfo(torch.float32).tiny) & largest.isfinite()
    inverse = torch.where(is_normal, code / largest, 0)
    codes = (vectors * inverse[..., None]).nan_to_num(0, 0, 0).round().to(torch.int8)
    scales = torch.where(is_normal, scales, torch.where(largest.isfinite(), 0, torch.nan))
    return QuantizedVectors(codes, scales)


def check_vectors(op: str, **stores: Vectors) -> None:
    """Raise ValueError naming the first that is not stored as float32, bfloat16 or int8."""
    for name, store in stores.items():
        if isinstance(store, QuantizedVectors):
            expect_shape(op, **{f"{name}.scales": (store.scales, list(store.shape[:-1]))})
        elif store.dtype not in (torch.float32, torch.bfloat16, torch.float64):
            raise ValueError(
                f"{op}: {name} must be float32, bfloat16 or QuantizedVectors, got {store.dtype}"
            )


def check(store: Vectors, at: Tensor, vectors: Tensor) -> None:
    expect_rank("store_vectors", vectors=(vectors, 2))
    T, D = vectors.shape
    check_vectors("store_vectors", store=store)
    expect_shape("store_vectors", store=(store, [store.shape[0], D]), at=(at, [T]))


def cost(store: Vectors, at: Tensor, vectors: Tensor) -> Cost:
    written = len(at) * store.nbytes // max(1, store.shape[0])
    return Cost(flops=0, bytes=vectors.nbytes + written)


def reference(store: Vectors, at: Tensor, vectors: Tensor) -> tuple[Tensor, ...]:
    if isinstance(store, QuantizedVectors):
        quantized = quantize(vectors)
        store.codes[at] = quantized.codes
        store.scales[at] = quantized.scales
    else:
        store[at] = vectors.to(store.dtype)
    return ()


def outputs(store: Vectors, at: Tensor, vectors: Tensor) -> tuple[Tensor, ...]:
    return ()


store_vectors = Op(
    name="store_vectors",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={"cpp": "t2engine._C:store_vectors_cpu"},
)
