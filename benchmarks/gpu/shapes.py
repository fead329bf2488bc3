"""The shapes at which decode attention is measured, their inputs, and what is right for them.

k samples of one prompt of P tokens, S own tokens each. Query head h reads key head h // G.

Shapes: q [k, H_kv G, D], prefix_k and prefix_v [H_kv, P, D], own_k and own_v [k, H_kv, S, D].
"""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.slab_cases import HEADS

SUFFIX = 128
SAMPLES = (8, 64, 256, 1024, 4096)
PREFIXES = (128, 512, 2048, 8192)
QUICK = ((8, 128), (64, 512), (1024, 512), (1024, 2048))  # samples, prompt tokens
CHECKED_ROWS = 64
ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Shape:
    model: str  # of HEADS
    num_samples: int
    prefix_len: int
    suffix_len: int = SUFFIX

    @property
    def heads(self) -> tuple[int, int, int]:
        """Key heads, query heads to each, head_dim."""
        return HEADS[self.model]

    @property
    def scale(self) -> float:
        return 1 / math.sqrt(self.heads[2])

    def key_value_bytes(self, num_tokens: int, item_bytes: int = 2) -> int:
        H_kv, _, D = self.heads
        return 2 * H_kv * D * item_bytes * num_tokens

    @property
    def shared_bytes(self) -> int:
        """Keys and values with the prompt stored once."""
        return self.key_value_bytes(self.prefix_len + self.num_samples * self.suffix_len)

    @property
    def expanded_bytes(self) -> int:
        """Keys and values with the prompt stored for every sample."""
        return self.key_value_bytes(self.num_samples * (self.prefix_len + self.suffix_len))


@dataclass(frozen=True)
class Inputs:
    q: Tensor
    prefix_k: Tensor
    prefix_v: Tensor
    own_k: Tensor
    own_v: Tensor


def all_shapes(quick: bool) -> list[Shape]:
    """The quick ones first, so that a run cut short has them."""
    first = [Shape(model, *cell) for cell in QUICK for model in HEADS]
    if quick:
        return first
    cells = itertools.product(SAMPLES, PREFIXES)
    rest = [Shape(model, *cell) for cell in cells for model in HEADS]
    return first + [shape for shape in rest if shape not in first]


def make_inputs(shape: Shape, index: int, device: str, dtype: torch.dtype) -> Inputs:
    """Set number `index`: the same numbers whoever asks."""
    g = torch.Generator(device).manual_seed(zlib.crc32(f"{shape} {index}".encode()))
    (H_kv, G, D), k, P, S = shape.heads, shape.num_samples, shape.prefix_len, shape.suffix_len

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=g, device=device, dtype=dtype)

    q = normal(k, H_kv * G, D)
    return Inputs(q, *(normal(H_kv, P, D) for _ in "kv"), *(normal(k, H_kv, S, D) for _ in "kv"))


def checked_rows(num_samples: int) -> list[int]:
    """Spread over all, the first and the last among them."""
    return sorted({int(i) for i in torch.linspace(0, num_samples - 1, CHECKED_ROWS)})


def attention(shape: Shape, inputs: Inputs, rows: list[int], dtype: torch.dtype) -> Tensor:
    """[rows, H_kv G, D] in `dtype`, by torch's scaled_dot_product_attention, prefix expanded."""
    H_kv, G, D = shape.heads
    parts = []
    for some in torch.tensor(rows).split(ROWS_AT_ONCE):
        count = len(some)
        keys, values = (
            torch.cat([p.expand(count, -1, -1, -1), own[some.to(own.device)]], dim=2).to(dtype)
            for p, own in ((inputs.prefix_k, inputs.own_k), (inputs.prefix_v, inputs.own_v))
        )
        q = inputs.q[some.to(inputs.q.device)].view(count, H_kv, G, D).to(dtype)
        out = torch.nn.functional.scaled_dot_product_attention(q, keys, values, scale=shape.scale)
        parts.append(out.reshape(count, H_kv * G, D))
    return torch.cat(parts)


def relative_error(got: Tensor, want: Tensor) -> float:
    """|got - want| / |want|, nan where anything is nan."""
    return float((got.double() - want.double()).norm() / want.double().norm())
