"""The native decode step at any number of samples of one prompt, without the prompt's prefill.

With sharing off every row has a segment entry of its own, so that the kernel reads the prompt once
for each row. Rows then go round several copies of the prompt's keys, as many as COPY_BYTES hold: a
row finds little of what it reads in the caches, as k different prompts would.

Units:  seconds, FLOPs and bytes per second.
"""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor

from benchmarks.peers.rates import RateMeter, best_seconds
from t2engine.costs.steps import DecodeStep
from t2engine.engine.native import NativeRuntime
from t2engine.hardware.native_steps import MOST_TOGETHER, NativeSteps, StoreMemory
from t2engine.metering import key_value_bytes
from t2engine.model.config import read_config
from t2engine.model.transformer import WEIGHT_DTYPES, Transformer
from t2engine.model.weights import open_weights
from t2engine.ops import PackedWeight, pack_weight
from t2engine.schema import Precision

SUFFIX_LEN = 32  # keys of its own that a row attends to, the new one included
COPY_BYTES = 2**30
VISIT_SECONDS = 0.15  # of measured steps, in
MOST_STEPS = 5  # at most


def load(directory: Path, precision: Precision, threads: int) -> NativeRuntime:
    config = read_config(directory)
    return NativeRuntime(Transformer(config, open_weights(directory, config), threads, precision))


class Stage:
    """Steps of one prompt length and at most so many samples."""

    def __init__(self, native: NativeRuntime, prompt_len: int, most_samples: int) -> None:
        config, precision = native.model.config, native.model.precision
        size = key_value_bytes(config, prompt_len, precision)
        self.prompt_len = prompt_len
        self.copies = min(most_samples, max(1, COPY_BYTES // size))
        own = key_value_bytes(config, SUFFIX_LEN + MOST_TOGETHER, precision)
        memory = StoreMemory(self.copies * size + most_samples * own, precision.cache)
        self.steps = NativeSteps(native, memory, most_samples)

    def visit(self, num_samples: int, shared: bool, expected: float | None) -> list[float]:
        """Seconds of a few steps in a row; expected: what earlier ones took."""
        prompts = 1 if shared else num_samples
        step = DecodeStep(num_samples, prompts, self.prompt_len, SUFFIX_LEN)
        if expected is None:
            expected = self.steps.seconds(step)
        steps = min(MOST_STEPS, max(1, math.ceil(VISIT_SECONDS / expected)))
        return [self.steps.seconds(step) for _ in range(steps)]


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
