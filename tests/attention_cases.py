"""Cases of the two attentions. Everything an operation may not read is nan in their inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from t2engine.ops import empty_vectors, flat_vectors, store_vectors
from t2engine.ops.store_vectors import Vectors
from tests.cases import Case, Inputs, normal


def bounds_of(counts: tuple[int, ...]) -> Tensor:
    return torch.tensor([0, *counts]).cumsum(0)


def spans_of(lengths: tuple[int, ...], gap: int) -> Tensor:
    """One span after another, with `gap` unused places before each."""
    starts = bounds_of(tuple(length + gap for length in lengths))[:-1] + gap
    return torch.stack([starts, starts + torch.tensor(lengths, dtype=torch.int64)], dim=1)


def store(g: torch.Generator, num_kv_heads: int, spans: Tensor, gap: int, head_dim: int) -> Tensor:
    """Keys or values [H_kv, P, D], nan outside the spans."""
    length = int(spans.max()) + gap if len(spans) else max(gap, 1)
    used = torch.zeros(length, dtype=torch.bool)
    for start, stop in spans.tolist():
        used[start:stop] = True
    keys = normal(g, num_kv_heads, length, head_dim)
    return keys.masked_fill(~used[:, None], math.nan)


@dataclass(frozen=True)
class SharedPrefixCase(Case):
    rows: tuple[int, ...]  # of each prompt
    prefix_len: tuple[int, ...]
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_suffix: int = 0  # suffixes are ragged, from 0 to this
    sharpness: float = 1.0  # standard deviation of the scores

    def inputs(self, device: str = "cpu") -> Inputs:
        g, R, D = self.generator(), sum(self.rows), self.head_dim
        q = self.sharpness * normal(g, R, self.num_heads, D)
        spans = spans_of(self.prefix_len, gap=2)
        prefix_k = store(g, self.num_kv_heads, spans, 2, D)
        prefix_v = store(g, self.num_kv_heads, spans, 2, D)
        slots, S = R + 2, self.max_suffix + 1
        row_slot = torch.randperm(slots, generator=g)[:R]
        suffix_len = torch.randint(0, S, (R,), generator=g)
        suffix_len[:1] = self.max_suffix
        used = torch.zeros(slots, S, dtype=torch.bool)
        used[row_slot] = torch.arange(S) < suffix_len[:, None]
        suffix_k, suffix_v = (
            normal(g, slots, self.num_kv_heads, S, D).masked_fill(~used[:, None, :, None], math.nan)
            for _ in range(2)
        )
        inputs = (q, prefix_k, prefix_v, spans, bounds_of(self.rows), suffix_k, suffix_v)
        tensors = [x.to(device) for x in (*inputs, row_slot, suffix_len)]
        return (*tensors, 1 / math.sqrt(D))

    def take(self, inputs: Inputs, rows: list[int]) -> Inputs:
        """Any rows, but the prompts in their order."""
        q, *prefix, row_bounds, suffix_k, suffix_v, row_slot, suffix_len, scale = inputs
        group = torch.bucketize(torch.tensor(rows), row_bounds[1:].cpu(), right=True)
        assert (group.diff() >= 0).all()
        counts = torch.bincount(group, minlength=len(row_bounds) - 1)
        bounds = bounds_of(tuple(counts.tolist())).to(q.device)
        own = (suffix_k, suffix_v, row_slot[rows], suffix_len[rows])
        return (q[rows], *prefix, bounds, *own, scale)


HEAD_LAYOUTS = [(1, 1), (4, 4), (6, 2), (12, 4), (7, 1), (8, 1), (40, 2)]  # heads, key heads
SHARED_PREFIX_ATTENTION = [
    *(SharedPrefixCase((5,), (P,), 4, 2, 16, 3) for P in (0, 1, 15, 16, 17, 127, 128, 129, 1000)),
    *(SharedPrefixCase((5, 2), (20, 33), 3, 1, D, 19) for D in (1, 8, 40, 64, 80, 96, 128, 256)),
    *(SharedPrefixCase((9,), (37,), *heads, 32, 17) for heads in HEAD_LAYOUTS),
    SharedPrefixCase((0,), (9,), 2, 1, 16),
    SharedPrefixCase((), (), 2, 1, 16),
    SharedPrefixCase((1,), (0,), 2, 1, 16),  # no keys at all
    SharedPrefixCase((1,), (1,), 1, 1, 16),
    SharedPrefixCase((3, 0, 1, 4), (17, 5, 0, 130), 4, 2, 32, 40),
    SharedPrefixCase((33,), (65,), 2, 2, 16, 200),  # suffixes longer than a block of keys
    SharedPrefixCase((70, 3), (129, 7), 6, 2, 24, 16),
    SharedPrefixCase((150,), (30,), 2, 1, 16, 5),
    SharedPrefixCase((2,), (2500,), 2, 1, 16, 3),  # three chunks of a prefix
    SharedPrefixCase((6,), (200,), 4, 2, 64, 50, sharpness=30.0),
]
SHARED_PREFIX_ATTENTION_AT_SCALE = [
    SharedPrefixCase((64,), (1024,), 8, 4, 64),
    SharedPrefixCase((64,), (4096,), 12, 4, 64),
    SharedPrefixCase((256,), (512,), 12, 4, 64),
    SharedPrefixCase((8,), (1024,), 12, 4, 64),
    SharedPrefixCase((1,), (1024,), 12, 4, 64),
    SharedPrefixCase((1024,), (2048,), 8, 2, 64),
    SharedPrefixCase((64,), (0,), 12, 4, 64, 512),
    SharedPrefixCase((256,), (16,), 4, 2, 32, 32),
]


def stored(vectors: Tensor, dtype: torch.dtype) -> Vectors:
    """The vectors [..., D] in a store of this type."""
    store = empty_vectors(*vectors.shape, dtype=dtype)
    count = vectors.shape[:-1].numel()
    rows = vectors.reshape(count, vectors.shape[-1])
    store_vectors(flat_vectors(store), torch.arange(count), rows, backend="torch")
    return store


@dataclass(frozen=True)
class TreeCase(Case):
    """Segments (first row, end row, columns), depth first."""

    segments: tuple[tuple[int, int, int], ...]
    rows: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_suffix: int = 0
    dtype: torch.dtype = torch.float32
    sharpness: float = 1.0

    def inputs(self, device: str = "cpu") -> Inputs:
        lengths = tuple(columns for *_, columns in self.segments)
        flat = SharedPrefixCase(
            *((self.rows,), (0,), self.num_heads, self.num_kv_heads, self.head_dim),
            *(self.max_suffix, self.sharpness),
        )
        q, _, _, _, _, *suffix, row_slot, suffix_len, scale = flat.inputs(device)
        g, spans = self.generator(), spans_of(lengths, gap=1)
        prefix = [store(g, self.num_kv_heads, spans, 1, self.head_dim) for _ in range(2)]
        rows = torch.tensor([segment[:2] for segment in self.segments], dtype=torch.int64)
        k, v, own_k, own_v = (stored(x.to(device), self.dtype) for x in (*prefix, *suffix))
        own = (own_k, own_v, row_slot, suffix_len)
        return (q, k, v, spans.to(device), rows.view(-1, 2).to(device), *own, scale)

    def take(self, inputs: Inputs, rows: list[int]) -> Inputs:
        """Each of these rows with its own list of segments, as if it shared none."""
        q, k, v, spans, seen_by, own_k, own_v, row_slot, suffix_len, scale = inputs
        own = [
            (i, m)
            for i, row in enumerate(rows)
            for m, (first, end) in enumerate(seen_by.tolist())
            if first <= row < end
        ]
        alone = torch.tensor([(i, i + 1) for i, _ in own], dtype=torch.int64).view(-1, 2)
        columns = spans[[m for _, m in own]]
        return (
            q[rows],
            k,
            v,
            columns,
            alone,
            own_k,
            own_v,
            row_slot[rows],
            suffix_len[rows],
            scale,
        )


DTYPES = (torch.float32, torch.bfloat16, torch.int8)
TWO_LEVELS = ((0, 40, 384), (0, 25, 768), (0, 10, 17), (10, 25, 1024), (11, 12, 5), (25, 38, 130))
TREE_ATTENTION = [
    *(TreeCase(TWO_LEVELS, 40, 6, 2, 64, 33, dtype) for dtype in DTYPES),
    *(
        TreeCase(((0, 9, 128), (2, 7, 37)), 9, 3, 1, D, 19, d)
        for D in (8, 40, 80, 128)
        for d in DTYPES
    ),
    *(TreeCase(((0, 9, 256), (3, 9, 99)), 9, *heads, 32, 17) for heads in HEAD_LAYOUTS),
    TreeCase((), 3, 4, 2, 16, 5),  # no segments: suffixes alone
    TreeCase((), 0, 4, 2, 16),
    TreeCase(((0, 3, 0), (0, 2, 5)), 3, 4, 2, 16),  # an empty segment, and a row without keys
    TreeCase(((1, 2, 130),), 4, 4, 2, 16, 3),  # rows without a prefix around one with
    TreeCase(tuple((i, i + 2, 128) for i in range(0, 200, 2)), 200, 6, 2, 16, 5),
    TreeCase(((0, 300, 2048), (0, 150, 128), (150, 300, 1)), 300, 2, 1, 16, 3),
    TreeCase(((0, 6, 256),), 6, 4, 2, 64, 50, torch.int8, sharpness=30.0),
]
TREE_ATTENTION_AT_SCALE = [
    *(TreeCase(((0, 64, 4096),), 64, 12, 4, 64, 32, dtype) for dtype in DTYPES),
    *(TreeCase(((0, 4, 4096),), 4, 12, 4, 64, 0, dtype) for dtype in DTYPES),
    TreeCase(((0, 64, 1024), *((8 * i, 8 * i + 8, 512) for i in range(8))), 64, 12, 4, 64, 32),
]


@dataclass(frozen=True)
class PrefillCase(Case):
    queries: tuple[int, ...]  # of each prompt, the last of its keys
    keys: tuple[int, ...]
    num_heads: int
    num_kv_heads: int
    head_dim: int
    sharpness: float = 1.0  # standard deviation of the scores

    def inputs(self, device: str = "cpu") -> Inputs:
        g, D = self.generator(), self.head_dim
        q = self.sharpness * normal(g, sum(self.queries), self.num_heads, D)
        spans = spans_of(self.keys, gap=2)
        k, v = (store(g, self.num_kv_heads, spans, 2, D) for _ in range(2))
        one_each = torch.arange(len(spans) + 1)
        tensors = [x.to(device) for x in (q, k, v, bounds_of(self.queries), spans, one_each)]
        return (*tensors, 1 / math.sqrt(D))

    def take(self, inputs: Inputs, rows: list[int]) -> Inputs:
        """A run of one prompt's queries, as if the later ones had not come yet."""
        q, k, v, query_bounds, key_bounds, _, scale = inputs
        [group] = set(torch.bucketize(torch.tensor(rows), query_bounds[1:], right=True).tolist())
        assert rows == list(range(rows[0], rows[-1] + 1))
        spans = key_bounds[group : group + 1].clone()
        spans[0, 1] -= query_bounds[group + 1] - 1 - rows[-1]
        return q[rows], k, v, bounds_of((len(rows),)), spans, torch.tensor([0, 1]), scale


PREFILL_ATTENTION = [
    *(PrefillCase((T,), (T,), 4, 2, 16) for T in (1, 2, 15, 16, 17, 127, 128, 129, 400)),
    *(PrefillCase((20, 3), (20, 33), 3, 1, D) for D in (1, 8, 40, 64, 80, 96, 128, 256)),
    *(PrefillCase((37,), (150,), *heads, 32) for heads in HEAD_LAYOUTS),
    PrefillCase((0,), (9,), 2, 1, 16),
    PrefillCase((), (), 2, 1, 16),
    PrefillCase((0, 0), (0, 3), 2, 1, 16),
    PrefillCase((1,), (1000,), 6, 2, 64),
    PrefillCase((5, 0, 130, 1), (140, 5, 130, 1), 4, 2, 24),
    PrefillCase((60,), (200,), 4, 2, 64, sharpness=30.0),
]
PREFILL_ATTENTION_AT_SCALE = [
    PrefillCase((1024,), (1024,), 12, 4, 64),
    PrefillCase((4096,), (4096,), 12, 4, 64),
    PrefillCase((128,) * 8, (128,) * 8, 12, 4, 64),
    PrefillCase((16,) * 32, (16,) * 32, 4, 2, 32),
]
