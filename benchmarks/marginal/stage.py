"""The native decode step at any number of samples of one prompt, without the prompt's prefill.

The stores hold random numbers, since time does not depend on them, and every sample has drawn
SUFFIX_LEN tokens. With sharing off every row has a segment entry of its own, so that the kernel
reads the prompt once for each row. Rows then go round several copies of the prompt's keys, as many
as COPY_BYTES hold: a row finds little of what it reads in the caches, as k different prompts would.

Units:  seconds, FLOPs and bytes per second.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.peers.rates import RateMeter, best_seconds
from t2engine.engine.batch import DecodeBatch
from t2engine.engine.cache import KeyValueCache
from t2engine.engine.memory import LOGITS_PER_BLOCK, MemoryPlan
from t2engine.engine.native import NativeExecutor, NativeRuntime
from t2engine.engine.requests import Group, Request
from t2engine.engine.slots import Slots
from t2engine.metering import key_value_bytes
from t2engine.model.config import read_config
from t2engine.model.transformer import WEIGHT_DTYPES, Transformer
from t2engine.model.weights import open_weights
from t2engine.ops import PackedWeight, QuantizedVectors, Vectors, pack_weight
from t2engine.schema import ModelConfig, Precision, SamplingParams

SUFFIX_LEN = 32  # keys of its own that a row attends to, the new one included
COPY_BYTES = 2**30
SHORT_SECONDS = 0.1  # a step shorter than this goes once unmeasured before it is measured
VISIT_SECONDS = 0.15  # of measured steps, in
MOST_STEPS = 5  # at most


def load(directory: Path, precision: Precision, threads: int) -> NativeRuntime:
    config = read_config(directory)
    return NativeRuntime(Transformer(config, open_weights(directory, config), threads, precision))


class Stage:
    """The stores of one prompt length and at most so many samples."""

    def __init__(self, native: NativeRuntime, prompt_len: int, most_samples: int) -> None:
        config, precision = native.model.config, native.model.precision
        size = key_value_bytes(config, prompt_len, precision)
        self.prompt_len = prompt_len
        self.copies = min(most_samples, max(1, COPY_BYTES // size))
        logit_rows = min(most_samples, max(1, LOGITS_PER_BLOCK // config.vocab_size))
        plan = MemoryPlan(
            slots=most_samples,
            rows=most_samples,
            logit_rows=logit_rows,
            prefix_capacity=self.copies * prompt_len,
            suffix_capacity=SUFFIX_LEN,
            prefix_bytes=self.copies * size,
            suffix_bytes=most_samples * key_value_bytes(config, SUFFIX_LEN, precision),
            workspace_bytes=native.workspace_bytes(most_samples, logit_rows),
        )
        native.reserve(prompt_len + SUFFIX_LEN)
        cache = KeyValueCache(config, plan, precision.cache)
        generator = torch.Generator().manual_seed(0)
        for prefix_k, prefix_v, suffix_k, suffix_v in cache.layers():
            for store in (prefix_k, prefix_v):
                fill(store, generator)
                repeat(store, prompt_len, self.copies)
            for store in (suffix_k, suffix_v):
                fill(store, generator)
        self.executor = NativeExecutor(native, cache, plan.rows, plan.logit_rows)
        self.slots = started_slots(config, most_samples, generator)

    def batch(self, num_samples: int, shared: bool) -> DecodeBatch:
        copy = torch.arange(1 if shared else num_samples) % self.copies
        row = torch.arange(len(copy))
        rows = torch.stack([row, row + 1], 1)
        return DecodeBatch(
            row_slot=torch.arange(num_samples),
            prefix_len=torch.full((num_samples,), self.prompt_len),
            segment_columns=torch.stack([copy, copy + 1], 1) * self.prompt_len,
            segment_rows=torch.tensor([[0, num_samples]]) if shared else rows,
            groups=(),
        )

    def step(self, batch: DecodeBatch) -> float:
        """Seconds of one step, always the same one."""
        self.slots.drawn.fill_(SUFFIX_LEN)
        began = time.perf_counter()
        self.executor.decode_until(batch, self.slots, 1, math.inf)
        return time.perf_counter() - began

    def visit(self, num_samples: int, shared: bool, expected: float | None) -> list[float]:
        """Seconds of a few steps in a row; expected: what earlier ones took."""
        batch = self.batch(num_samples, shared)
        if expected is None or expected < SHORT_SECONDS:
            expected = self.step(batch)
        steps = min(MOST_STEPS, max(1, math.ceil(VISIT_SECONDS / expected)))
        return [self.step(batch) for _ in range(steps)]


def fill(store: Vectors, generator: torch.Generator) -> None:
    if isinstance(store, QuantizedVectors):
        store.codes.random_(-127, 128, generator=generator)
        store.scales.fill_(1 / 64)  # vectors of the spread of the others
    else:
        store.normal_(generator=generator)


def repeat(store: Vectors, length: int, copies: int) -> None:
    """The first columns again and again."""
    parts = (store.codes, store.scales) if isinstance(store, QuantizedVectors) else (store,)
    for part in parts:
        for copy in range(1, copies):
            part[:, copy * length : (copy + 1) * length] = part[:, :length]


def started_slots(config: ModelConfig, count: int, generator: torch.Generator) -> Slots:
    """Every sample in its slot, SUFFIX_LEN random tokens drawn, temperature 1."""
    params = SamplingParams(n=count, max_tokens=None)
    request = Request(None, (), params, 0, frozenset(), config.max_context_len, first_handle=0)
    slots = Slots(count, SUFFIX_LEN + 1, [request])
    slots.start([(Group((), 0), request, index, index) for index in range(count)])
    slots.history.random_(0, config.vocab_size, generator=generator)
    return slots


class Rater:
    """This minute's rates: of products with the weights as stored, of products of floats, and of
    reading. With 16-bit and int8 weights the first is the fastest of our own products."""

    def __init__(self, native: NativeRuntime) -> None:
        model = native.model
        self.meter = RateMeter(model.config, model.threads)
        dtype = WEIGHT_DTYPES[model.precision.weights]
        self.stored = [
            (x, weight, pack_weight(weight, dtype)) for x, weight, _ in self.meter.products
        ]

    def measure(self) -> dict[str, float]:
        rates = self.meter.measure()
        rates["gemm_stored"] = max(
            2 * x.shape[0] * weight.numel() / self.seconds(x, weight, packed)
            for x, weight, packed in self.stored
        )
        float_rate = max(rates["gemm_linear"], rates["gemm_torch"])
        return {
            "product": max(float_rate, rates["gemm_stored"]),
            "attention": float_rate,
            "read": max(rate for name, rate in rates.items() if name.startswith("read_")),
            **rates,
        }

    def seconds(self, x: Tensor, weight: Tensor, packed: PackedWeight) -> float:
        return best_seconds(lambda: self.meter.ours(x, weight, packed))
