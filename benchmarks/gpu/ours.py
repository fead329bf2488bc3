"""slab_attention as a variant: a backend, and the table's prefix kernel or another that fits."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu.shapes import Inputs, Shape
from benchmarks.gpu.variants import OURS, Prepared
from t2engine.ops import slab_attention
from t2engine.ops._attention_plan import AttentionPlan, device_of, plan_attention
from t2engine.ops._prefix_choices import PREFIX_CHOICES, PrefixChoice
from t2engine.ops.slab_attention import planned

BACKENDS = ("triton", "cuda")
SLAB = 64  # steps of a chunk


@dataclass(frozen=True)
class Slabs:
    """A set of inputs as slab_attention takes them."""

    q: Tensor  # [H_kv, k, G, D]
    prefix_k: Tensor
    prefix_v: Tensor
    slab_k: Tensor  # [chunks, H_kv, T, D]
    slab_v: Tensor
    row_chunk: Tensor  # [B, k]
    first: Tensor
    last: Tensor

    @property
    def own(self) -> tuple[Tensor, ...]:
        return self.slab_k, self.slab_v, self.row_chunk, self.first, self.last


def to_slabs(shape: Shape, inputs: Inputs) -> Slabs:
    """Every sample's chunks lie anywhere, as after a while of serving."""
    (H_kv, G, D), k, S = shape.heads, shape.num_samples, shape.suffix_len
    device, ring = inputs.q.device, -(-S // SLAB)
    order = torch.randperm(ring * k, generator=torch.Generator().manual_seed(0))
    row_chunk = order.view(ring, k).to(device)

    def slabs(own: Tensor) -> Tensor:
        padded = own.new_zeros(k, H_kv, ring * SLAB, D)
        padded[:, :, :S] = own
        blocks = padded.view(k, H_kv, ring, SLAB, D).permute(2, 0, 1, 3, 4)
        out = torch.empty(ring * k, H_kv, SLAB, D, dtype=own.dtype, device=device)
        out[row_chunk.reshape(-1)] = blocks.reshape(ring * k, H_kv, SLAB, D)
        return out

    return Slabs(
        inputs.q.view(k, H_kv, G, D).transpose(0, 1).contiguous(),
        inputs.prefix_k,
        inputs.prefix_v,
        slabs(inputs.own_k),
        slabs(inputs.own_v),
        row_chunk,
        torch.zeros(k, dtype=torch.int64, device=device),
        torch.full((k,), S - 1, dtype=torch.int64, device=device),
    )


def call_on(plan: AttentionPlan, backend: str, slabs: Slabs, scale: float) -> Tensor:
    """Everything a decode step does for attention in one layer, outputs and states allocated."""
    q = slabs.q
    out = slab_attention.outputs(q)[0]
    prefix = (slabs.prefix_k, slabs.prefix_v)
    slab_attention.load(backend)(out, *planned(plan, q, *prefix, *slabs.own, scale))
    return out


@dataclass(frozen=True)
class SlabAttention:
    backend: str
    choice: PrefixChoice | None = None  # None takes the table's

    @property
    def name(self) -> str:
        return f"{OURS} {self.backend}" + (f" {tiles_of(self.choice)}" if self.choice else "")

    def plan(self, shape: Shape, q: Tensor) -> AttentionPlan:
        segments = [(0, shape.prefix_len, 0, shape.num_samples)]
        return plan_attention(segments, q, self.backend, choice=self.choice)

    def why_not(self, shape: Shape) -> str | None:
        return slab_attention.why_not(self.backend, "cuda")

    def bytes_of_set(self, shape: Shape) -> int:
        return shape.shared_bytes

    def prepare(self, shape: Shape, sets: list[Inputs]) -> Prepared:
        slabs = [to_slabs(shape, inputs) for inputs in sets]
        began = time.perf_counter()
        plan = self.plan(shape, slabs[0].q)
        took = time.perf_counter() - began
        calls = [partial(call_on, plan, self.backend, one, shape.scale) for one in slabs]
        return Prepared(calls, took)


def tiles_of(choice: PrefixChoice) -> str:
    tiles = f"{choice.kernel} {choice.tile_rows}x{choice.tile_keys}"
    if choice.backend == "cuda":  # whose kernels have their warps and stages built in
        return tiles
    return f"{tiles} w{choice.num_warps} s{choice.num_stages}"


def choices_for(shape: Shape, backend: str, q: Tensor) -> list[PrefixChoice]:
    """Rows of the table that can do the shape, whether or not it would take them for it."""
    _, G, D = shape.heads
    found: dict[str, PrefixChoice] = {}
    for choice in PREFIX_CHOICES:
        if (
            choice.backend == backend
            and choice.capability <= device_of(q).capability
            and choice.element_size == q.element_size()
            and choice.max_head_dim >= D
            and choice.max_queries >= G * shape.num_samples
        ):
            found.setdefault(tiles_of(choice), choice)
    return list(found.values())


def our_variants(shape: Shape, q: Tensor) -> list[SlabAttention]:
    """The table's choice of each backend, and the others where a prefix kernel runs at all."""
    found = []
    for backend in BACKENDS:
        ours = SlabAttention(backend)
        found.append(ours)
        if ours.why_not(shape) or not choices_for(shape, backend, q):
            continue
        plan = ours.plan(shape, q)
        if len(plan.items):
            own = tiles_of(plan.choice)
            others = (c for c in choices_for(shape, backend, q) if tiles_of(c) != own)
            found += [SlabAttention(backend, choice) for choice in others]
    return found


def without_prefix_kernel(plan: AttentionPlan) -> AttentionPlan:
    """Only the suffix kernel is launched; it merges states that nobody wrote."""
    return replace(plan, items=plan.items[:0])
