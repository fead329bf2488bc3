"""FlashInfer's ways to attend to a shared prompt, each planned apart from its run.

Keys are paged, the prompt's pages first: [pages, 2, PAGE, H_kv, D]. Group sizes that are no power
of two need its tensor-core path. The cascade's "auto" backend is FA3 on Hopper, whose tiles of 128
rows hold no group of heads; "fa2" is forced level by level, which its users rarely do but a fair
comparison must. Signatures are those of flashinfer-python 0.6.6.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.shapes import Inputs, Shape
from benchmarks.gpu.variants import Prepared

PAGE = 16
WORKSPACE_BYTES = 512 << 20
WAYS = ("cascade fa2", "cascade auto", "decode fa2", "decode auto")


@dataclass(frozen=True)
class FlashInfer:
    """compiled: the head_dims whose modules are there; None compiles them when they are needed."""

    way: str
    compiled: frozenset[int] | None = None

    @property
    def name(self) -> str:
        return f"flashinfer {self.way}"

    def why_not(self, shape: Shape) -> str | None:
        if importlib.util.find_spec("flashinfer") is None:
            return "flashinfer is not installed"
        if self.compiled is not None and shape.heads[2] not in self.compiled:
            return "warm_peers did not get its modules compiled"
        return None

    def bytes_of_set(self, shape: Shape) -> int:
        return shape.shared_bytes

    def prepare(self, shape: Shape, sets: list[Inputs]) -> Prepared:
        tables, q = Tables.of(shape, sets[0].q.device), sets[0].q
        kind, backend = self.way.split()
        plan = plan_cascade if kind == "cascade" else plan_decode
        plan(shape, tables, q, backend)  # compiles its modules where nobody did
        torch.cuda.synchronize()
        began = time.perf_counter()
        run = plan(shape, tables, q, backend)
        torch.cuda.synchronize()
        took = time.perf_counter() - began
        return Prepared([partial(run, x.q, to_pages(shape, x)) for x in sets], took)


@dataclass(frozen=True)
class Tables:
    """Which pages hold what. prompt [P / PAGE], own [k, S / PAGE], last [k]; all int32."""

    prompt: Tensor
    own: Tensor
    last: Tensor

    @staticmethod
    def of(shape: Shape, device: torch.device) -> Tables:
        k, shared, each = shape.num_samples, *pages_of(shape)
        integers = {"device": device, "dtype": torch.int32}
        return Tables(
            torch.arange(shared, **integers),
            (shared + torch.arange(k * each, **integers)).view(k, each),
            torch.full((k,), (shape.suffix_len - 1) % PAGE + 1, **integers),
        )


def pages_of(shape: Shape) -> tuple[int, int]:
    """Of the prompt, and of each sample. The prompt must fill its own: a sample's follow them."""
    assert shape.prefix_len % PAGE == 0
    return shape.prefix_len // PAGE, -(-shape.suffix_len // PAGE)


def to_pages(shape: Shape, x: Inputs) -> Tensor:
    (H_kv, _, D), k = shape.heads, shape.num_samples
    shared, each = pages_of(shape)
    kv = x.q.new_zeros(shared + k * each, 2, PAGE, H_kv, D)
    for i, (prefix, own) in enumerate(((x.prefix_k, x.own_k), (x.prefix_v, x.own_v))):
        kv[:shared, i] = prefix.transpose(0, 1).view(shared, PAGE, H_kv, D)
        padded = own.new_zeros(k, H_kv, each * PAGE, D)
        padded[:, :, : shape.suffix_len] = own
        kv[shared:, i] = padded.transpose(1, 2).reshape(k * each, PAGE, H_kv, D)
    return kv


def common(shape: Shape, q: Tensor) -> tuple[tuple[int, ...], dict[str, Any]]:
    H_kv, G, D = shape.heads
    return (H_kv * G, H_kv, D, PAGE), {
        "q_data_type": q.dtype,
        "kv_data_type": q.dtype,
        "sm_scale": shape.scale,
    }


def workspace(device: torch.device) -> Tensor:
    return torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device=device)


def plan_decode(shape: Shape, tables: Tables, q: Tensor, backend: str) -> Any:
    """Every sample's table lists the prompt's pages: stored once, read k times."""
    import flashinfer

    k, each = shape.num_samples, sum(pages_of(shape))
    prompt = tables.prompt.expand(k, -1)
    indices = torch.cat([prompt, tables.own], dim=1).contiguous().view(-1)
    offsets = torch.arange(k + 1, dtype=torch.int32, device=q.device) * each
    wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(
        workspace(q.device), "NHD", use_tensor_cores=True, backend=backend
    )
    sizes, options = common(shape, q)
    wrapper.plan(offsets, indices, tables.last, *sizes, **options)
    return wrapper.run


def levels_of(shape: Shape, tables: Tables) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Query offsets, page offsets, pages and tokens of the last page, of prompt and samples."""
    k, (shared, each) = shape.num_samples, pages_of(shape)
    integers = {"device": tables.last.device, "dtype": torch.int32}
    samples = torch.arange(k + 1, **integers)
    return [
        (
            torch.tensor([0, k], **integers),
            torch.tensor([0, shared], **integers),
            tables.prompt,
            torch.tensor([PAGE], **integers),
        ),
        (samples, samples * each, tables.own.contiguous().view(-1), tables.last),
    ]


def plan_cascade(shape: Shape, tables: Tables, q: Tensor, backend: str) -> Any:
    import flashinfer

    levels = levels_of(shape, tables)
    sizes, options = common(shape, q)
    if backend == "auto":
        whole = flashinfer.MultiLevelCascadeAttentionWrapper(2, workspace(q.device), "NHD")
        whole.plan(*(list(column) for column in zip(*levels, strict=True)), *sizes, **options)
        return whole.run
    wrappers = []
    for level in levels:
        wrapper = flashinfer.BatchPrefillWithPagedKVCacheWrapper(
            workspace(q.device), "NHD", backend=backend
        )
        wrapper.plan(*level, *sizes, causal=False, **options)
        wrappers.append(wrapper)
    shared, own = wrappers

    def run(q: Tensor, kv: Tensor) -> Tensor:
        out, lse = own.run(q, kv, return_lse=True)
        flashinfer.merge_state_in_place(out, lse, *shared.run(q, kv, return_lse=True))
        return out

    return run
