"""Cases of the operations that only GPUs have kernels for. What may not be read is nan."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.attention_cases import spans_of, store
from tests.cases import Case, Inputs, normal


def slabs(
    g: torch.Generator, first: Tensor, last: Tensor, ring: int, shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values [chunks, H_kv, T, D], and row_chunk [ring, R]; shape is (H_kv, T, D)."""
    R, (H_kv, T, D) = len(first), shape
    chunks = ring * R + 2
    row_chunk = torch.randperm(chunks, generator=g)[: ring * R].view(ring, R)
    used = torch.zeros(chunks, T, dtype=torch.bool)
    for row, (start, stop) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        assert stop + 1 - start <= ring * T, "the ring holds the row's steps"
        steps = torch.arange(start, stop + 1)
        used[row_chunk[steps // T % ring, row], steps % T] = True
    keys, values = (
        normal(g, chunks, H_kv, T, D).masked_fill(~used[:, None, :, None], math.nan)
        for _ in range(2)
    )
    return keys, values, row_chunk


@dataclass(frozen=True)
class SlabCase(Case):
    """Segments (first row, end row, columns), depth first."""

    segments: tuple[tuple[int, int, int], ...]
    rows: int
    num_kv_heads: int
    sharers: int  # query heads to a key head
    head_dim: int
    max_suffix: int = 0  # own keys are ragged, from 0 to this
    slab: int = 16  # steps of a chunk
    now: int = 0  # the step of the newest keys; 0 takes the longest suffix
    sharpness: float = 1.0

    def inputs(self, device: str = "cpu") -> Inputs:
        g, R, D = self.generator(), self.rows, self.head_dim
        q = self.sharpness * normal(g, self.num_kv_heads, R, self.sharers, D)
        spans = spans_of(tuple(columns for *_, columns in self.segments), gap=1)
        prefix = [store(g, self.num_kv_heads, spans, 1, D) for _ in range(2)]
        seen_by = torch.tensor([s[:2] for s in self.segments], dtype=torch.int64).view(-1, 2)
        count = torch.randint(0, self.max_suffix + 1, (R,), generator=g)
        count[:1] = self.max_suffix
        now = self.now or max(self.max_suffix, 1) - 1
        first = torch.where(count > 0, now + 1 - count, 0)
        last = torch.where(count > 0, now, -1)  # a row that has ended has no keys
        ring = -(-self.max_suffix // self.slab) + 1
        slab = slabs(g, first, last, ring, (self.num_kv_heads, self.slab, D))
        tensors = [x.to(device) for x in (q, *prefix, spans, seen_by, *slab, first, last)]
        return (*tensors, 1 / math.sqrt(D))

    def take(self, inputs: Inputs, rows: list[int]) -> Inputs:
        """Each of these rows with its own list of segments, as if it shared none."""
        q, k, v, spans, seen_by, slab_k, slab_v, row_chunk, first, last, scale = inputs
        own = [
            (i, m)
            for i, row in enumerate(rows)
            for m, (begin, end) in enumerate(seen_by.tolist())
            if begin <= row < end
        ]
        alone = torch.tensor([(i, i + 1) for i, _ in own], dtype=torch.int64).view(-1, 2)
        columns = spans[[m for _, m in own]].view(-1, 2)
        chunks = row_chunk[:, rows].contiguous()
        where = (slab_k, slab_v, chunks, first[rows], last[rows])
        return (q[:, rows].contiguous(), k, v, columns, alone.to(q.device), *where, scale)


def one_prompt(rows: int, keys: int) -> tuple[tuple[int, int, int], ...]:
    return ((0, rows, keys),)


TWO_LEVELS = ((0, 12, 256), (0, 7, 128), (0, 3, 17), (3, 7, 130), (7, 12, 5))
SLAB_ATTENTION = [
    *(SlabCase(one_prompt(5, P), 5, 2, 2, 16, 3) for P in (0, 1, 15, 63, 64, 65, 128, 129, 600)),
    *(SlabCase(((0, 5, 200), (5, 7, 33)), 7, 1, 3, D, 19) for D in (16, 40, 64, 80, 96, 128, 256)),
    *(SlabCase(one_prompt(9, 137), 9, 2, G, 64, 17) for G in (1, 2, 3, 4, 5, 6, 7, 8)),
    SlabCase((), 0, 1, 2, 64),
    SlabCase((), 3, 1, 2, 64),  # no keys at all
    SlabCase((), 3, 2, 2, 64, 40),  # own keys alone
    SlabCase(one_prompt(1, 1), 1, 1, 1, 64),
    SlabCase(one_prompt(1, 700), 1, 2, 4, 64, 5),  # one row: splits, and few queries
    SlabCase(one_prompt(3, 64), 6, 2, 2, 64, 20),  # rows after the prompt's: padding
    SlabCase(((0, 3, 70), (3, 3, 9), (3, 4, 0), (4, 8, 130)), 8, 2, 2, 32, 40),  # empty ones
    SlabCase(TWO_LEVELS, 12, 2, 2, 64, 9),
    SlabCase(TWO_LEVELS, 12, 1, 7, 128, 33),
    SlabCase(one_prompt(33, 65), 33, 1, 2, 16, 100, now=1000),  # a ring that has gone round
    SlabCase(one_prompt(70, 129), 70, 1, 3, 32, 16, slab=64),  # more queries than a tile
    SlabCase(one_prompt(6, 200), 6, 2, 2, 64, 50, sharpness=30.0),
]
HEADS = {  # key heads, query heads to each, head_dim
    "Qwen2.5-0.5B": (2, 7, 64),
    "Llama-3.2-1B": (8, 4, 64),
    "Qwen3-0.6B": (8, 2, 128),
    "Llama-3.1-8B": (8, 4, 128),
}
SLAB_ATTENTION_AT_SCALE = [
    SlabCase(one_prompt(rows, keys), rows, *heads, 128, 64)
    for heads in HEADS.values()
    for rows, keys in ((64, 2048), (1024, 2048), (1024, 512))
]


@dataclass(frozen=True)
class RopeAppendCase(Case):
    rows: int
    num_kv_heads: int
    sharers: int
    head_dim: int
    rotary_dim: int
    bias: bool = False
    norm: bool = False  # of the heads of q and k
    slab: int = 16
    now: int = 0

    def inputs(self, device: str = "cpu") -> Inputs:
        g, R, D, H_kv = self.generator(), self.rows, self.head_dim, self.num_kv_heads
        width = (self.sharers + 2) * H_kv * D
        qkv = normal(g, R, width)
        bias = normal(g, width).to(device) if self.bias else None
        norms = [normal(g, D).to(device) if self.norm else None for _ in range(2)]
        angle = 100 * normal(g, 50, self.rotary_dim // 2)
        position = torch.randint(0, 50, (R,), generator=g)
        alive = (torch.rand(R, generator=g) < 0.8).long()
        alive[:1] = 1
        time = torch.where(alive > 0, self.now, -1)
        keys, values, row_chunk = slabs(g, time, time - 1, 3, (H_kv, self.slab, D))
        tensors = (angle.cos(), angle.sin(), position, time, alive, row_chunk, keys, values)
        return (qkv.to(device), bias, *norms, *(x.to(device) for x in tensors), 1e-5)


ROPE_APPEND = [
    RopeAppendCase(1, 1, 1, 16, 16),
    RopeAppendCase(0, 2, 2, 64, 64),
    RopeAppendCase(5, 2, 3, 64, 64, now=37),
    RopeAppendCase(9, 2, 7, 64, 64, bias=True, now=16),
    RopeAppendCase(7, 2, 2, 128, 128, norm=True, now=47),
    RopeAppendCase(3, 1, 8, 80, 32, bias=True, norm=True, now=200),
    RopeAppendCase(6, 3, 1, 96, 24),
    RopeAppendCase(4, 1, 4, 256, 0),
    RopeAppendCase(130, 2, 2, 32, 32, slab=64, now=63),
]
ROPE_APPEND_AT_SCALE = [
    RopeAppendCase(rows, *heads, heads[-1], slab=64)
    for heads in HEADS.values()
    for rows in (64, 1024)
]


@dataclass(frozen=True)
class StepUpdateCase(Case):
    rows: int
    vocab_size: int
    hidden_size: int
    ring: int = 4

    def inputs(self, device: str = "cpu") -> Inputs:
        g, R = self.generator(), self.rows

        def integers(low: int, high: int, *shape: int) -> Tensor:
            return torch.randint(low, high, shape, generator=g)

        alive = integers(0, 4, R).clamp(max=1)
        drawn = integers(1, 9, R)
        first = torch.where(alive > 0, integers(0, 20, R), 0)
        last = torch.where(alive > 0, first + drawn - 1, -1)
        most = drawn + 1 + integers(0, 3, R)  # a third ends by its length
        end_sets = [integers(0, self.vocab_size, n) for n in (0, 1, 5)]
        end_bounds = torch.tensor([0, *(len(ids) for ids in end_sets)]).cumsum(0)
        tensors = (
            integers(0, self.vocab_size, R),
            alive,
            drawn,
            integers(0, 100, R),
            first,
            last,
            integers(0, 9, self.ring, R),
            normal(g, R, self.hidden_size),
            torch.rand(R, dtype=torch.float64, generator=g),
            most,
            integers(0, 3, R),
            end_bounds,
            torch.cat(end_sets),
            *(integers(-(2**63), 2**63 - 1, R) for _ in range(2)),
            integers(0, 2**32, R),
            normal(g, self.vocab_size, self.hidden_size),
        )
        return tuple(x.contiguous().to(device) for x in tensors)


STEP_UPDATE = [
    StepUpdateCase(0, 10, 8),
    StepUpdateCase(1, 3, 1),
    StepUpdateCase(7, 6, 16),
    StepUpdateCase(40, 9, 100, ring=64),
    StepUpdateCase(130, 1000, 24),
    StepUpdateCase(3, 50, 2048),
]
STEP_UPDATE_AT_SCALE = [StepUpdateCase(1024, 8192, 256, 64), StepUpdateCase(1024, 151936, 896, 64)]
