"""Single decode steps and prefills of one model on the CPU, without the work that leads up to them.

The stores hold random numbers, since time does not depend on them, and every sample is made to have
drawn as many tokens as asked: a step at any number of samples, prompt and suffix length is there at
once. Models share one memory for their stores, so that many can be at hand and take turns.

Units:  seconds.
"""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from t2engine.costs.steps import DecodeStep, PrefillStep, Step
from t2engine.engine.batch import DecodeBatch
from t2engine.engine.cache import CACHE_DTYPES, KeyValueCache
from t2engine.engine.forward import prefill
from t2engine.engine.memory import CHUNK_TOKENS, LOGITS_PER_BLOCK, MemoryPlan
from t2engine.engine.native import NativeExecutor, NativeRuntime
from t2engine.engine.prefix_tree import PrefixTree
from t2engine.engine.requests import Group, Request
from t2engine.engine.slots import Slots
from t2engine.engine.torch_threads import one_torch_thread
from t2engine.metering import key_value_bytes
from t2engine.model.random_weights import RandomWeights
from t2engine.model.transformer import Transformer
from t2engine.ops import QuantizedVectors, huge_empty
from t2engine.schema import ModelConfig, Precision, SamplingParams

TOGETHER_SECONDS = 0.002  # of steps that run without coming back to Python, as the engine's do
MOST_TOGETHER = 16
SHORT_SECONDS = 0.02  # a step shorter than this is run once unmeasured, its model being cold
CODE_SCALE = 1 / 64  # of int8 vectors, so that they spread as the others
FILL_ELEMENTS = 1 << 22

Window = AbstractContextManager[Any]


def random_model(config: ModelConfig, precision: Precision, threads: int) -> NativeRuntime:
    return NativeRuntime(Transformer(config, RandomWeights(config), threads, precision))


class StoreMemory:
    """One random memory, of which each cache in turn takes what it needs from the start."""

    def __init__(self, nbytes: int, dtype: str) -> None:
        self.dtype = CACHE_DTYPES[dtype]
        self.elements = huge_empty((nbytes // self.dtype.itemsize,), self.dtype)
        generator = torch.Generator().manual_seed(0)
        block = self.elements[:FILL_ELEMENTS]
        if self.dtype == torch.int8:
            block.random_(-127, 128, generator=generator)
        else:
            block.normal_(generator=generator)
        for part in self.elements[FILL_ELEMENTS:].split(FILL_ELEMENTS):
            part.copy_(block[: len(part)])
        self.taken = 0

    @property
    def nbytes(self) -> int:
        return self.elements.nbytes

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        assert dtype == self.dtype
        size = math.prod(shape)
        assert self.taken + size <= len(self.elements), "the plan of the stores is wrong"
        start, self.taken = self.taken, self.taken + size
        return self.elements[start : start + size].view(shape)


class NativeSteps:
    """A model on which single steps are timed.

    A step's stores are views of `memory`. Prompts that need more columns than that has go round
    those there are: a row still finds little of what it reads in the processor's caches, as long
    as the memory is many times their size.
    """

    def __init__(self, native: NativeRuntime, memory: StoreMemory, most_samples: int) -> None:
        self.native, self.memory = native, memory
        self.config, self.precision = native.model.config, native.model.precision
        config = self.config
        self.logit_rows = min(most_samples, max(1, LOGITS_PER_BLOCK // config.vocab_size))
        self.rows = max(most_samples, CHUNK_TOKENS)
        size = native.workspace_bytes(self.rows, self.logit_rows) // torch.float32.itemsize
        self.workspace = huge_empty((size,), torch.float32)
        self.stages: dict[Step, Stage] = {}

    def seconds(self, step: Step) -> float:
        """Of one such step, by the engine's own code."""
        with one_torch_thread(), torch.inference_mode():
            if isinstance(step, PrefillStep):
                return self.prefill(step)
            return self.decode(step)

    def repeat(self, step: Step, seconds: float, window: Window) -> int:
        """Such steps for so long at least, and nothing else, in the window; how many."""
        expected = self.seconds(step)
        count, stage = 0, self.stages[step]
        together = max(1, min(MOST_TOGETHER, math.ceil(TOGETHER_SECONDS / expected)))
        with one_torch_thread(), torch.inference_mode(), window:
            began = time.perf_counter()
            while time.perf_counter() - began < seconds:
                if isinstance(step, PrefillStep):
                    self.prefill(step)
                    count += 1
                else:
                    self.run(stage, step, together)
                    count += together
        return count

    def decode(self, step: DecodeStep) -> float:
        """The mean over a few that run in one go; short steps once unmeasured before."""
        stage = self.stages.get(step) or self.set_up(step)
        if stage.expected < SHORT_SECONDS:
            stage.expected = self.run(stage, step, 1)
        together = math.ceil(TOGETHER_SECONDS / stage.expected)
        stage.expected = self.run(stage, step, max(1, min(MOST_TOGETHER, together)))
        return stage.expected

    def run(self, stage: Stage, step: DecodeStep, count: int) -> float:
        assert stage.batch is not None
        stage.slots.drawn.fill_(max(1, int(step.suffix_len) - count // 2))
        began = time.perf_counter()
        steps, _ = stage.executor.decode_until(stage.batch, stage.slots, count, math.inf)
        seconds = time.perf_counter() - began
        assert steps == count
        return seconds / count

    def prefill(self, step: PrefillStep) -> float:
        """The logits after the prompt included."""
        stage = self.stages.get(step) or self.set_up(step)
        group = Group(tuple(i % self.config.vocab_size for i in range(step.prompt_len)), 0)
        group.leaf = PrefixTree(step.prompt_len).insert(group.token_ids)
        began = time.perf_counter()
        prefill(stage.executor, [group])
        return time.perf_counter() - began

    def set_up(self, step: Step) -> Stage:
        config, precision = self.config, self.precision
        if isinstance(step, PrefillStep):
            samples, columns, whole = 1, 1, step.prompt_len
            prefix = whole
        else:
            samples, columns = int(step.num_samples), int(step.suffix_len) + MOST_TOGETHER
            whole = int(step.prefix_len)
            prefix = int(step.num_prompts) * whole
        token_bytes = key_value_bytes(config, 1, precision)
        room = self.memory.nbytes // token_bytes - samples * columns
        if room < whole:
            raise ValueError(
                f"a step needs {(whole + samples * columns) * token_bytes / 2**20:,.0f} MiB for "
                f"keys and values, expected at most {self.memory.nbytes / 2**20:,.0f} MiB: {step}"
            )
        prefix = min(prefix, room)
        plan = MemoryPlan(
            *(samples, self.rows, self.logit_rows, prefix, columns),
            prefix_bytes=prefix * token_bytes,
            suffix_bytes=samples * columns * token_bytes,
            workspace_bytes=self.workspace.nbytes,
        )
        self.native.reserve(whole + columns)
        self.memory.taken = 0
        cache = KeyValueCache(config, plan, precision.cache, self.memory.empty)
        for store in (s for layer in cache.layers() for s in layer):
            if isinstance(store, QuantizedVectors):
                store.scales.fill_(CODE_SCALE)
        executor = NativeExecutor(self.native, cache, self.rows, self.logit_rows, self.workspace)
        batch = None if isinstance(step, PrefillStep) else make_batch(step, prefix)
        self.stages[step] = Stage(executor, batch, started_slots(config, samples, columns + 1))
        return self.stages[step]


@dataclass
class Stage:
    """What one step runs on."""

    executor: NativeExecutor
    batch: DecodeBatch | None  # None for a prefill
    slots: Slots
    expected: float = 0.0  # seconds that a step took last; 0 before the first


def make_batch(step: DecodeStep, columns: int) -> DecodeBatch:
    """The rows of a step: its prompts side by side, each with as many samples as the others."""
    n, prompts, P = int(step.num_samples), int(step.num_prompts), int(step.prefix_len)
    start = torch.arange(prompts) % (columns // P) * P
    bounds = torch.arange(prompts + 1) * n // prompts
    return DecodeBatch(
        row_slot=torch.arange(n),
        prefix_len=torch.full((n,), P),
        segment_columns=torch.stack([start, start + P], 1),
        segment_rows=torch.stack([bounds[:-1], bounds[1:]], 1),
        groups=(),
    )


def started_slots(config: ModelConfig, count: int, capacity: int) -> Slots:
    """Every sample in its slot with random tokens drawn, at temperature 1."""
    params = SamplingParams(n=count, max_tokens=None)
    request = Request(None, (), params, 0, frozenset(), config.max_context_len, first_handle=0)
    slots = Slots(count, capacity, [request])
    slots.start([(Group((), 0), request, index, index) for index in range(count)])
    generator = torch.Generator().manual_seed(0)
    slots.history.random_(0, config.vocab_size, generator=generator)
    return slots
