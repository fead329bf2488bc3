"""The small measurements of probes.py on a device that torch drives.

On an NVIDIA GPU a call is timed as steps run it: recorded in a graph, several in a row, played back
between two CUDA events, so that it is the device's time and not the host's. What is read from
memory is a new piece each time, of a memory many times the size of L2; what is read from L2 is the
same small piece again and again. Products, attention and draws find their operands where they are.

Reading is torch.sum: it reads every byte once and writes none, as a step reads weights and keys. A
copy writes as much as it reads, which memory does at another rate; it is a probe of its own.

Units:  seconds of one call, the best of those of one visit; FLOPs and bytes as the operation's own
        contract counts them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import cycle
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from t2engine import ops
from t2engine.engine.slabs import SLAB_STEPS
from t2engine.hardware.probes import FEWEST_CALLS, VISIT_SECONDS, Probe, Shape, stored
from t2engine.ops import plan_attention, planned, slab_attention
from t2engine.schema import Cost

WARM_CALLS = 3
MOST_RECORDED = 64  # calls of one graph
RECORDED_SECONDS = 0.001  # that a graph of short calls lasts, so that its own launch is little
HEADS, KEY_HEADS, HEAD_DIM = 32, 8, 128


@dataclass(frozen=True)
class Sizes:
    """What is probed. The first of read_bytes is read from a cache."""

    rows: tuple[int, ...] = (1, 16, 64, 256, 1024, 4096)
    widths: tuple[int, ...] = (256, 1024, 2048, 4096)
    read_bytes: tuple[int, ...] = (1 << 21, 1 << 24, 1 << 26, 1 << 28, 1 << 30)
    prompts: tuple[int, ...] = (512, 4096)
    samples: tuple[int, ...] = (1, 16, 128, 1024)
    suffix_len: int = 128
    vocabularies: tuple[int, ...] = (512, 8192, 65536)
    drawing_rows: int = 64


SIZES = Sizes()


@dataclass(frozen=True)
class DeviceProbe(Probe):
    """`call` enqueues the same work each time. On a GPU it is recorded on the first visit."""

    device: torch.device

    def seconds(self) -> float:
        with torch.inference_mode():
            if self.device.type != "cuda":
                return super().seconds()
            replay, calls = self.recorded
            best, visits, began = math.inf, 0, time.perf_counter()
            while visits < FEWEST_CALLS or time.perf_counter() - began < VISIT_SECONDS:
                best = min(best, elapsed_seconds(replay) / calls)
                visits += 1
            return best

    @cached_property
    def recorded(self) -> tuple[Callable[[], object], int]:
        """What plays so many calls back."""
        return record(self.call)


def elapsed_seconds(run: Callable[[], object]) -> float:
    """By the device's clock."""
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) / 1e3


def record(call: Callable[[], object]) -> tuple[Callable[[], object], int]:
    """Warmed on a stream of its own, as capturing asks, then captured."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_CALLS):
            call()
        side.synchronize()
        once = elapsed_seconds(call)
    torch.cuda.current_stream().wait_stream(side)
    calls = max(1, min(MOST_RECORDED, math.ceil(RECORDED_SECONDS / once)))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            call()
    graph.replay()
    torch.cuda.synchronize()
    return graph.replay, calls


# ---- what is probed ------------------------------------------------------------------------------


def device_probes(
    dtypes: tuple[str, ...], device: torch.device, sizes: Sizes = SIZES
) -> Iterator[Probe]:
    """dtypes: of weights, activations and keys; attention is in the last."""
    one = torch.ones(1, device=device)
    yield DeviceProbe("launch", {}, Cost(0, 0), partial(one.add_, 1), device)
    generator = torch.Generator().manual_seed(0)
    for dtype in dtypes:
        yield from products(dtype, device, sizes, generator)
    yield from memory_probes(device, sizes)
    yield from attentions(dtypes[-1], device, sizes, generator)
    yield from draws(device, sizes, generator)


def products(
    dtype: str, device: torch.device, sizes: Sizes, generator: torch.Generator
) -> Iterator[Probe]:
    """As DeviceModel multiplies. Numbers are random: zeros are multiplied faster."""
    for width in sizes.widths:
        numbers = torch.randn(max(*sizes.rows, width), width, generator=generator)
        operand = numbers.to(device, stored(dtype))
        weight, size = operand[:width], operand.element_size()
        for rows in sizes.rows:
            cost = Cost(2 * rows * width * width, size * width * (2 * rows + width))
            shape: Shape = {"dtype": dtype, "rows": rows, "width": width}
            call = partial(functional.linear, operand[:rows], weight)
            yield DeviceProbe("product", shape, cost, call, device)


def memory_probes(device: torch.device, sizes: Sizes) -> Iterator[Probe]:
    memory = torch.ones(max(sizes.read_bytes) // 4, device=device)
    for size in sizes.read_bytes:
        pieces = memory.split(size // 4)
        turn = cycle(pieces[:1] if size == sizes.read_bytes[0] else pieces)
        yield DeviceProbe(
            "read",
            {"bytes": size},
            Cost(0, size),
            lambda turn=turn: torch.sum(next(turn)),  # type: ignore[misc]
            device,
        )
    target = torch.empty(len(memory) // 2, device=device)
    half = memory[: len(target)]
    copied = Cost(0, 2 * half.nbytes)
    yield DeviceProbe("copy", {"bytes": half.nbytes}, copied, lambda: target.copy_(half), device)


def attentions(
    dtype: str, device: torch.device, sizes: Sizes, generator: torch.Generator
) -> Iterator[Probe]:
    for samples in sizes.samples:
        for length in sizes.prompts:
            inputs = attention_inputs(samples, length, 0, stored(dtype), device, generator)
            shape: Shape = {"dtype": dtype, "samples": samples, "prompt_len": length}
            yield attention("prefix_attention", shape, inputs, device)
        own = sizes.suffix_len
        inputs = attention_inputs(samples, 0, own, stored(dtype), device, generator)
        shape = {"dtype": dtype, "samples": samples, "suffix_len": own}
        yield attention("suffix_attention", shape, inputs, device)


def attention(kind: str, shape: Shape, inputs: tuple[Any, ...], device: torch.device) -> Probe:
    """On a GPU without what the host does once for a batch: the plan is made before."""
    call: Callable[[], object] = partial(slab_attention, *inputs)
    backend = slab_attention.pick(device.type)
    if backend != "torch":
        q, keys, values, columns, rows, *own = inputs
        pairs = zip(columns.tolist(), rows.tolist(), strict=True)
        plan = plan_attention([(*c, *r) for c, r in pairs], q, backend)
        function, lowered = slab_attention.load(backend), planned(plan, q, keys, values, *own)
        call = partial(function, *slab_attention.outputs(q), *lowered)
    return DeviceProbe(kind, shape, slab_attention.cost(*inputs), call, device)


def attention_inputs(
    samples: int,
    prompt_len: int,
    own: int,
    dtype: torch.dtype,
    device: torch.device,
    generator: torch.Generator,
) -> tuple[Any, ...]:
    """Of slab_attention: a prompt for all samples, or keys of their own. The segments' tables are
    the host's, as in a step."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    ring, chunk_rows = -(-max(own, 1) // SLAB_STEPS), samples if own else 1
    q = normal(KEY_HEADS, samples, HEADS // KEY_HEADS, HEAD_DIM)
    prompt = (normal(KEY_HEADS, max(prompt_len, 1), HEAD_DIM) for _ in range(2))
    slabs = (normal(ring * chunk_rows, KEY_HEADS, SLAB_STEPS, HEAD_DIM) for _ in range(2))
    shared = 1 if prompt_len else 0
    columns = torch.tensor([[0, prompt_len]])[:shared]
    seen_by = torch.tensor([[0, samples]])[:shared]
    chunks = torch.arange(ring * chunk_rows, device=device).view(ring, chunk_rows)
    row_chunk = chunks.expand(ring, samples).contiguous()
    first = torch.zeros(samples, dtype=torch.int64, device=device)
    where = (row_chunk, first, first + (own - 1))
    return (q, *prompt, columns, seen_by, *slabs, *where, 1 / math.sqrt(HEAD_DIM))


def draws(device: torch.device, sizes: Sizes, generator: torch.Generator) -> Iterator[Probe]:
    rows = sizes.drawing_rows
    ones = torch.ones(rows, device=device)
    every = torch.zeros(rows, dtype=torch.int64, device=device)
    uniform = torch.rand(rows, dtype=torch.float64, generator=generator).to(device)
    for vocab_size in sizes.vocabularies:
        logits = torch.randn(rows, vocab_size, generator=generator).to(device)
        inputs = (logits, ones, every, ones, 0 * ones, uniform)
        shape: Shape = {"rows": rows, "vocab_size": vocab_size}
        call = partial(ops.sample_tokens, *inputs)
        yield DeviceProbe("draw", shape, ops.sample_tokens.cost(*inputs), call, device)
