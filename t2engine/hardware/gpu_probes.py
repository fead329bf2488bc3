"""Small random inputs on which the GPU kernels are checked, by operation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Inputs = tuple[Any, ...]
HEADS = ((64, 7), (128, 2), (80, 4))  # head_dim, query heads to a key head
SLAB, RING, ROWS = 64, 3, 40


@dataclass(frozen=True)
class Source:
    """Random tensors of one floating-point type."""

    generator: torch.Generator
    dtype: torch.dtype

    def normal(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.randn(shape, generator=self.generator).to(dtype or self.dtype)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self.generator)

    def uniform(self, rows: int) -> Tensor:
        return torch.rand(rows, dtype=torch.float64, generator=self.generator)


Probes = Iterator[tuple[str, Inputs]]


def norms(source: Source) -> Probes:
    for width in (896, 4096):
        yield f"width {width}", (source.normal(33, width), source.normal(width), 1e-6)


def gates(source: Source) -> Probes:
    yield "width 1408", (source.normal(33, 2 * 1408),)


def states(source: Source) -> Probes:
    out_a, out_b = (source.normal(33, 14, 64, dtype=torch.float32) for _ in range(2))
    lse_a, lse_b = (source.normal(33, 14, dtype=torch.float32) for _ in range(2))
    yield "33 samples", (out_a, lse_a, out_b, lse_b)


def products(source: Source) -> Probes:
    weight = source.normal(300, 512) / math.sqrt(512)
    for rows in (1, 70):
        yield f"{rows} rows", (source.normal(rows, 512), weight.to(source.dtype), None)


def slabs(source: Source, head_dim: int, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values, and where each row's are."""
    row_chunk = torch.randperm(RING * len(last), generator=source.generator).view(RING, -1)
    keys, values = (source.normal(RING * len(last), 2, SLAB, head_dim) for _ in range(2))
    return keys, values, row_chunk


def rotations(source: Source) -> Probes:
    for head_dim, sharers in HEADS:
        width = (sharers + 2) * 2 * head_dim
        angle = source.normal(99, head_dim // 2, dtype=torch.float32)
        alive = (torch.arange(ROWS) % 5 > 0).long()
        last = torch.where(alive > 0, 130, -1)
        keys, values, row_chunk = slabs(source, head_dim, last)
        where = (source.integers(0, 99, ROWS), last, alive, row_chunk, keys, values, 1e-6)
        scales = (source.normal(width), source.normal(head_dim), source.normal(head_dim))
        qkv = source.normal(ROWS, width)
        yield f"head_dim {head_dim}", (qkv, *scales, angle.cos(), angle.sin(), *where)


def attentions(source: Source) -> Probes:
    """A system prompt, two questions and their samples; then one sample of a long prompt."""
    for head_dim, sharers in HEADS:
        for rows, columns, seen_by in (
            (ROWS, [(0, 256), (256, 300), (300, 999)], [(0, ROWS), (0, 7), (7, ROWS)]),
            (1, [(0, 999)], [(0, 1)]),
        ):
            first = source.integers(100, 130, rows)
            last = torch.where(source.integers(0, 6, rows) > 0, 140, -1)
            keys, values, row_chunk = slabs(source, head_dim, last)
            prefix = (source.normal(2, 999, head_dim) for _ in range(2))
            q = source.normal(2, rows, sharers, head_dim)
            segments = torch.tensor(columns), torch.tensor(seen_by)
            own = (keys, values, row_chunk, torch.where(last < 0, 0, first), last)
            what = f"head_dim {head_dim}, {rows} rows"
            yield what, (q, *prefix, *segments, *own, 1 / math.sqrt(head_dim))


def draws(source: Source) -> Probes:
    for vocab_size, rows in ((1000, 24), (151936, 4)):
        how = torch.tensor([(1, 0, 1, 0), (0.7, 20, 1, 0), (1, 0, 0.9, 0), (1, 0, 1, 0.05)])
        temperature, top_k, top_p, min_p = how.repeat(rows // 4, 1).T.contiguous()
        settings = (temperature, top_k.long(), top_p, min_p, source.uniform(rows))
        yield f"vocabulary {vocab_size}", (2 * source.normal(rows, vocab_size), *settings)


def uniforms(source: Source) -> Probes:
    bits = (source.integers(-(2**63), 2**63 - 1, 99) for _ in range(2))
    yield "99 rows", (*bits, *(source.integers(0, 2**32, 99) for _ in range(2)))


def ends_of_steps(source: Source) -> Probes:
    rows, width = 99, 896
    alive = (torch.arange(rows) % 5 > 0).long()
    drawn = source.integers(1, 9, rows)
    where = (source.integers(0, 99, rows), torch.where(alive > 0, 50, 0))
    last = torch.where(alive > 0, 49 + drawn, -1)
    out = (source.integers(0, 9, 64, rows), source.normal(rows, width), source.uniform(rows))
    ends = (drawn + source.integers(1, 4, rows), source.integers(0, 2, rows))
    sets = (torch.tensor([0, 0, 3]), torch.tensor([3, 7, 11]))
    bits = (source.integers(-(2**63), 2**63 - 1, rows) for _ in range(2))
    names = (*bits, source.integers(0, 2**32, rows))
    token = source.integers(0, 16, rows)
    embed = source.normal(16, width)
    yield "99 rows", (token, alive, drawn, *where, last, *out, *ends, *sets, *names, embed)


PROBES: dict[str, Callable[[Source], Probes]] = {
    "rms_norm": norms,
    "silu_mul": gates,
    "merge_states": states,
    "linear": products,
    "rope_append": rotations,
    "slab_attention": attentions,
    "sample_tokens": draws,
    "philox_uniform": uniforms,
    "step_update": ends_of_steps,
}
EXACT = {"philox_uniform", "step_update"}  # copies and integers
DRAWN = {"sample_tokens"}  # a draw is compared as a token, whatever the type of the logits
FLOAT32_ONLY = {("merge_states", "cuda")}
