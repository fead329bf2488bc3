"""Small measurements of one thing each: products, reading, copying, attention, drawing, a launch.

They are the roofs of the roofline and the first guess of the cost model's numbers; what a step
takes is measured on whole steps (native_steps.py). Operands are made before the clock starts.

Units:  seconds of one call, the best of those of one visit; FLOPs and bytes as the operation's own
        contract counts them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch

from t2engine import ops
from t2engine.model.transformer import WEIGHT_DTYPES
from t2engine.ops import PANEL, Op, PackedWeight, pack_weight
from t2engine.schema import Cost

ROWS = (1, 4, 16, 64, 256, 1024)
WIDTHS = (256, 1024, 2048)
READ_BYTES = (1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28)
CACHE_READ_BYTES = READ_BYTES[0]
READ_WIDTH = 1024  # input features of what is read as weights
PROMPTS = (512, 4096)
VOCABULARIES = (512, 8192, 65536)
DRAWING_ROWS = 64
SAMPLES = (1, 16, 128)
HEADS, KEY_HEADS, HEAD_DIM = 12, 4, 64
SUFFIX = 128
VISIT_SECONDS = 0.003  # of calls, unless one takes longer
FEWEST_CALLS = 2

Shape = dict[str, int | str]


@dataclass(frozen=True)
class Probe:
    """One call that can be timed again and again. kind and shape name it."""

    kind: str  # "product", "read", "copy", "prefix_attention", "suffix_attention", "draw", "launch"
    shape: Shape
    cost: Cost
    call: Callable[[], object]

    def seconds(self) -> float:
        best, calls, began = math.inf, 0, time.perf_counter()
        while calls < FEWEST_CALLS or time.perf_counter() - began < VISIT_SECONDS:
            start = time.perf_counter()
            self.call()
            best = min(best, time.perf_counter() - start)
            calls += 1
        return best


def cpu_probes(dtypes: tuple[str, ...], threads: int) -> Iterator[Probe]:
    """dtypes: of weights."""
    generator = torch.Generator().manual_seed(0)
    yield launch(threads)
    for dtype in dtypes:
        for width in WIDTHS:
            weight = pack_weight(torch.randn(width, width, generator=generator), stored(dtype))
            for rows in ROWS:
                x = torch.randn(rows, width, generator=generator)
                shape: Shape = {"dtype": dtype, "rows": rows, "width": width}
                yield of_operation("product", shape, ops.linear, threads, x, weight, None)
    yield from memory_probes(threads)
    for samples in SAMPLES:
        for length in PROMPTS:
            inputs = attention_inputs(samples, length, generator)
            shape = {"samples": samples, "prompt_len": length}
            yield of_operation(
                "prefix_attention", shape, ops.tree_attention, threads, *inputs.prefix()
            )
        shape = {"samples": samples, "suffix_len": SUFFIX}
        inputs = attention_inputs(samples, 1, generator)
        yield of_operation("suffix_attention", shape, ops.tree_attention, threads, *inputs.suffix())
    for vocab_size in VOCABULARIES:
        rows = DRAWING_ROWS
        ones = torch.ones(rows)
        uniform = torch.rand(rows, dtype=torch.float64, generator=generator)
        logits = torch.randn(rows, vocab_size, generator=generator)
        inputs_of_draw = (logits, ones, torch.zeros(rows).long(), ones, 0 * ones, uniform)
        shape = {"rows": rows, "vocab_size": vocab_size}
        yield of_operation("draw", shape, ops.sample_tokens, threads, *inputs_of_draw)


def stored(dtype: str) -> torch.dtype:
    return WEIGHT_DTYPES[dtype]


def of_operation(kind: str, shape: Shape, op: Op, threads: int, *inputs: Any) -> Probe:
    return Probe(kind, dict(shape), op.cost(*inputs), lambda: op(*inputs, threads=threads))


def launch(threads: int) -> Probe:
    """What a call costs that has nothing to do."""
    weight, x = pack_weight(torch.ones(16, 16)), torch.ones(1, 16)
    return of_operation("launch", {}, ops.linear, threads, x, weight, None)


def memory_probes(threads: int) -> Iterator[Probe]:
    """Reading is by the product's own kernel, one row over a memory as its weights. The smallest
    piece is read again and again, from a cache; larger ones in turn, so that none is still there.
    """
    memory = torch.ones(max(READ_BYTES) // 4)
    x = torch.ones(1, READ_WIDTH)
    for size in READ_BYTES:
        weights = [
            PackedWeight(panels, panels.shape[0] * PANEL, READ_WIDTH)
            for panels in memory.view(-1, READ_WIDTH, PANEL).split(size // (4 * READ_WIDTH * PANEL))
        ]
        turn = cycle(weights[:1] if size <= CACHE_READ_BYTES else weights)
        yield Probe(
            "read",
            {"bytes": size},
            Cost(0, size),
            lambda turn=turn: ops.linear(x, next(turn), None, threads=threads),  # type: ignore[misc]
        )
    target = torch.empty(len(memory) // 2)
    half = memory[: len(target)]
    copied = Cost(0, 2 * half.nbytes)
    yield Probe("copy", {"bytes": half.nbytes}, copied, lambda: target.copy_(half))


@dataclass(frozen=True)
class AttentionInputs:
    """Of tree_attention: one prompt, and as many samples as there are rows of q."""

    prefix: Callable[[], tuple[Any, ...]]
    suffix: Callable[[], tuple[Any, ...]]


def attention_inputs(samples: int, prompt_len: int, generator: torch.Generator) -> AttentionInputs:
    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    q = normal(samples, HEADS, HEAD_DIM)
    prompt = normal(2, KEY_HEADS, prompt_len, HEAD_DIM)
    own = normal(2, samples, KEY_HEADS, SUFFIX, HEAD_DIM)
    rows, scale = torch.arange(samples), 1 / math.sqrt(HEAD_DIM)
    columns, seen_by = torch.tensor([[0, prompt_len]]), torch.tensor([[0, samples]])
    nothing = torch.empty(0, 2, dtype=torch.int64)
    lengths = torch.full((samples,), SUFFIX)
    return AttentionInputs(
        lambda: (q, *prompt, columns, seen_by, *own, rows, 0 * lengths, scale),
        lambda: (q, *prompt, nothing, nothing, *own, rows, lengths, scale),
    )
