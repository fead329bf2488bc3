"""One table of cases per operation, shared by its tests and its benchmark.

A case makes its inputs (the same ones every time) and takes a subset of their rows, which must not
change the result of a row.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from t2engine.ops import pack_weight

Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    def __str__(self) -> str:
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return "-".join(f"{f.name}={value}" for f, value in values if value != f.default)

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(zlib.crc32(str(self).encode()))

    def inputs(self, device: str = "cpu") -> Inputs:
        raise NotImplementedError

    def take(self, inputs: Inputs, rows: list[int]) -> Inputs:
        """The inputs of these rows alone."""
        x, *rest = inputs
        return (x[rows], *rest)


def normal(generator: torch.Generator, *shape: int, device: str = "cpu") -> Tensor:
    return torch.randn(shape, generator=generator).to(device)


@dataclass(frozen=True)
class MergeStatesCase(Case):
    num_samples: int
    num_heads: int
    head_dim: int
    empty: bool = False  # some sets have no keys

    def inputs(self, device: str = "cpu") -> Inputs:
        g, S, H, D = self.generator(), self.num_samples, self.num_heads, self.head_dim
        out_a, out_b = normal(g, S, H, D), normal(g, S, H, D)
        lse_a, lse_b = 5 * normal(g, S, H), 5 * normal(g, S, H)
        if self.empty:
            for out, lse, every in ((out_a, lse_a, 2), (out_b, lse_b, 3)):
                lse[::every] = -math.inf
                out[::every] = 0
        return tuple(x.to(device) for x in (out_a, lse_a, out_b, lse_b))

    def take(self, inputs: Inputs, rows: list[int]) -> Inputs:
        return tuple(x[rows] for x in inputs)


MERGE_STATES = [
    MergeStatesCase(1, 1, 1),
    MergeStatesCase(0, 4, 64),
    MergeStatesCase(3, 2, 7),
    MergeStatesCase(7, 3, 33, empty=True),
    MergeStatesCase(13, 12, 64, empty=True),
    MergeStatesCase(257, 1, 128),
]
MERGE_STATES_AT_SCALE = [MergeStatesCase(64, 12, 64), MergeStatesCase(1024, 32, 128)]


@dataclass(frozen=True)
class LinearCase(Case):
    rows: int
    in_features: int
    out_features: int
    bias: bool = False
    dtype: torch.dtype = torch.float32  # of the packed weight

    def inputs(self, device: str = "cpu") -> Inputs:
        g = self.generator()
        x = normal(g, self.rows, self.in_features, device=device)
        weight = normal(g, self.out_features, self.in_features) / math.sqrt(self.in_features)
        bias = normal(g, self.out_features, device=device) if self.bias else None
        return x, pack_weight(weight.to(device), self.dtype), bias


LINEAR_FLOAT32 = [
    LinearCase(1, 1, 1),
    LinearCase(0, 5, 7, bias=True),
    LinearCase(1, 768, 50),
    LinearCase(2, 33, 15, bias=True),
    LinearCase(5, 64, 192, bias=True),
    LinearCase(7, 17, 16),
    LinearCase(13, 130, 33),  # one more than a tile of 12 rows and 32 columns
    LinearCase(16, 512, 130, bias=True),
    LinearCase(33, 1100, 49, bias=True),
    LinearCase(145, 96, 260),
    LinearCase(33, 64, 65),  # one more than a tile of 32 rows
    LinearCase(257, 48, 97, bias=True),
]
LINEAR = [
    replace(case, dtype=dtype)
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.int8)
    for case in LINEAR_FLOAT32
]
LINEAR_AT_SCALE = [
    LinearCase(rows, in_features, out_features, dtype=dtype)
    for in_features, out_features in [(768, 2048), (2048, 768), (512, 8192), (768, 32000)]
    for rows in (1, 8, 64, 256)
    for dtype in (torch.float32, torch.bfloat16, torch.int8)
]


@dataclass(frozen=True)
class NormCase(Case):
    """rms_norm takes (x, weight, eps), layer_norm (x, weight, bias, eps)."""

    rows: int
    width: int
    scale: float = 1.0

    def inputs(self, device: str = "cpu", bias: bool = False) -> Inputs:
        g, W = self.generator(), self.width
        x = self.scale * (normal(g, self.rows, W, device=device) + 0.5)
        vectors = [normal(g, W, device=device) for _ in range(1 + bias)]
        return x, *vectors, 1e-5


@dataclass(frozen=True)
class LayerNormCase(NormCase):
    def inputs(self, device: str = "cpu", bias: bool = True) -> Inputs:
        return super().inputs(device, bias)


NORM_SHAPES = [(1, 1), (0, 64), (1, 15), (3, 16), (5, 17), (4, 64), (9, 100), (70, 129), (2, 768)]
RMS_NORM = [NormCase(*shape) for shape in NORM_SHAPES] + [
    NormCase(3, 80, scale=1e-4),
    NormCase(3, 80, scale=1e4),
]
LAYER_NORM = [LayerNormCase(case.rows, case.width, case.scale) for case in RMS_NORM]
RMS_NORM_AT_SCALE = [NormCase(64, 768), NormCase(1024, 768)]
LAYER_NORM_AT_SCALE = [LayerNormCase(64, 768), LayerNormCase(1024, 768)]


@dataclass(frozen=True)
class RotaryCase(Case):
    rows: int
    num_heads: int
    head_dim: int
    rotary_dim: int

    def inputs(self, device: str = "cpu") -> Inputs:
        g = self.generator()
        x = normal(g, self.rows, self.num_heads, self.head_dim, device=device)
        angle = 100 * normal(g, self.rows, self.rotary_dim // 2, device=device)
        return x, angle.cos(), angle.sin()

    def take(self, inputs: Inputs, rows: list[int]) -> Inputs:
        return tuple(x[rows] for x in inputs)


ROTARY_EMBEDDING = [
    RotaryCase(1, 1, 2, 2),
    RotaryCase(0, 2, 64, 64),
    RotaryCase(3, 2, 10, 6),
    RotaryCase(2, 3, 17, 0),
    RotaryCase(5, 3, 64, 16),
    RotaryCase(17, 4, 66, 66),
    RotaryCase(70, 12, 64, 64),
]
ROTARY_EMBEDDING_AT_SCALE = [RotaryCase(64, 12, 64, 64), RotaryCase(1024, 12, 64, 64)]


@dataclass(frozen=True)
class ActivationCase(Case):
    """silu_mul takes x of 2 * width columns; gelu takes (x, tanh)."""

    rows: int
    width: int
    scale: float = 3.0

    def inputs(self, device: str = "cpu") -> Inputs:
        return (self.scale * normal(self.generator(), self.rows, 2 * self.width, device=device),)


@dataclass(frozen=True)
class GeluCase(ActivationCase):
    tanh: bool = False

    def inputs(self, device: str = "cpu") -> Inputs:
        return *super().inputs(device), self.tanh


ACTIVATION_SHAPES = [(1, 1), (0, 8), (3, 8), (2, 15), (5, 16), (4, 33), (70, 129), (3, 1408)]
SILU_MUL = [ActivationCase(*shape) for shape in ACTIVATION_SHAPES] + [ActivationCase(3, 40, 60.0)]
GELU = [GeluCase(c.rows, c.width, c.scale, tanh) for c in SILU_MUL for tanh in (False, True)]
SILU_MUL_AT_SCALE = [ActivationCase(64, 2048), ActivationCase(1024, 2048)]
GELU_AT_SCALE = [GeluCase(64, 2048, 3.0, tanh) for tanh in (False, True)]


@dataclass(frozen=True)
class HadamardCase(ActivationCase):
    block: int = 1

    def inputs(self, device: str = "cpu") -> Inputs:
        return self.scale * normal(self.generator(), self.rows, self.width).to(device), self.block


HADAMARD = [
    HadamardCase(*shape)
    for shape in (
        (1, 1, 1.0, 1),
        (0, 8, 1.0, 8),
        (3, 12, 1.0, 4),
        (5, 16, 1.0, 16),
        (2, 33, 1.0, 1),
        (4, 96, 1.0, 32),
        (70, 128, 1.0, 128),
        (3, 1408, 1.0, 128),
    )
]
HADAMARD_AT_SCALE = [HadamardCase(64, 2048, 1.0, 128), HadamardCase(1024, 2048, 1.0, 128)]


@dataclass(frozen=True)
class SampleTokensCase(Case):
    """Row r uses the settings r of a fixed cycle, so that a call mixes them; `only` picks one."""

    rows: int
    vocab_size: int
    spread: float = 2.0  # standard deviation of the logits
    ties: bool = False  # logits from a handful of values
    masked: bool = False  # some logits are -inf
    only: int | None = None

    def inputs(self, device: str = "cpu") -> Inputs:
        g = self.generator()
        logits = self.spread * normal(g, self.rows, self.vocab_size)
        if self.ties:
            logits = logits.round()
        if self.masked:
            logits[:, 1::3] = -math.inf
        pick = [
            SAMPLING_CYCLE[(r if self.only is None else self.only) % len(SAMPLING_CYCLE)]
            for r in range(self.rows)
        ]
        temperature, top_k, top_p, min_p = torch.tensor(pick, dtype=torch.float64).view(-1, 4).T
        inputs = (logits, temperature.float(), top_k.long(), top_p.float(), min_p.float())
        uniform = torch.rand(self.rows, dtype=torch.float64, generator=g)
        return tuple(x.contiguous().to(device) for x in (*inputs, uniform))

    def take(self, inputs: Inputs, rows: list[int]) -> Inputs:
        return tuple(x[rows] for x in inputs)


# temperature, top_k, top_p, min_p
SAMPLING_CYCLE = [
    (1.0, 0, 1.0, 0.0),
    (0.7, 0, 1.0, 0.0),
    (1.0, 5, 1.0, 0.0),
    (1.0, 0, 0.9, 0.0),
    (1.0, 0, 1.0, 0.05),
    (0.0, 0, 1.0, 0.0),
    (1.5, 20, 0.93, 0.02),
    (0.8, 1, 1.0, 0.0),
    (1.3, 50, 0.31, 0.0),
    (0.001, 0, 1.0, 0.0),
    (2.0, 1000, 0.999, 0.0),
    (1.0, -1, 0.5, 0.1),
]
SAMPLE_TOKENS = [
    SampleTokensCase(12, 1),
    SampleTokensCase(0, 10),
    SampleTokensCase(24, 2),
    SampleTokensCase(60, 17),
    SampleTokensCase(60, 100, ties=True),
    SampleTokensCase(36, 129, masked=True),
    SampleTokensCase(36, 997, spread=0.0),  # every logit equal
    SampleTokensCase(36, 1025, ties=True, masked=True),
    SampleTokensCase(24, 5000, spread=10.0),
    SampleTokensCase(12, 32000),
    SampleTokensCase(12, 32000, spread=0.1),  # nearly even: the filters' cuts lie in the crowd
    SampleTokensCase(12, 32000, ties=True),  # thousands of equals at a cut
    SampleTokensCase(12, 151936),
]
SAMPLE_TOKENS_AT_SCALE = [
    SampleTokensCase(64, vocab_size, only=i)
    for vocab_size in (32000, 151936)
    for i in (0, 2, 3, 4, 5, 6)
]


@dataclass(frozen=True)
class PhiloxCase(Case):
    rows: int

    def inputs(self, device: str = "cpu") -> Inputs:
        low, high, g = -(2**63), 2**63 - 1, self.generator()
        draw = [torch.randint(low, high, (self.rows,), generator=g) for _ in range(4)]
        seed, prompt, sample, step = draw
        counts = (x % 2**32 for x in (sample, step))
        return tuple(x.to(device) for x in (seed, prompt, *counts))

    def take(self, inputs: Inputs, rows: list[int]) -> Inputs:
        return tuple(x[rows] for x in inputs)


PHILOX_UNIFORM = [PhiloxCase(rows) for rows in (1, 0, 7, 16, 65)]
PHILOX_UNIFORM_AT_SCALE = [PhiloxCase(64), PhiloxCase(4096)]

CASES: dict[str, Sequence[Case]] = {
    "merge_states": MERGE_STATES,
    "linear": LINEAR,
    "rms_norm": RMS_NORM,
    "layer_norm": LAYER_NORM,
    "rotary_embedding": ROTARY_EMBEDDING,
    "silu_mul": SILU_MUL,
    "gelu": GELU,
    "hadamard": HADAMARD,
    "sample_tokens": SAMPLE_TOKENS,
    "philox_uniform": PHILOX_UNIFORM,
}
