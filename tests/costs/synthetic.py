"""A calibration of a machine that does not exist: planted rates, and noise of a known size.

    seconds = the planted model's, times exp(noise x normal), for each round

What is in it is what `t2 calibrate` measures, but less: some model shapes, decode steps, prefills,
training steps, the grid of sharing, and the probes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from t2engine.costs.ladder import ladder_shape
from t2engine.costs.measurements import Measurement, Measurements, show_precision
from t2engine.costs.step_time import StepRates, step_seconds
from t2engine.costs.steps import DecodeStep, PrefillStep, Step, tabulate
from t2engine.costs.training_time import TrainingRates, tabulate_training, training_seconds
from t2engine.hardware.design import EVERY, HELD_OUT_SHAPES, QUICK, Effort, Planned, planned_steps
from t2engine.schema import ModelConfig, Precision

RATES = StepRates(
    product_flops_per_second=2e11,
    half_in_features=60.0,
    half_out_features=25.0,
    efficiency_1=0.1,
    efficiency_4=0.35,
    efficiency_16=0.7,
    efficiency_64=0.95,
    efficiency_1024=1.02,
    product_exponent=5.0,
    memory_bytes_per_second=3e10,
    cache_bytes_per_second=9e10,
    cache_bytes=2e7,
    attention_flops_per_second=1.2e11,
    half_queries=6.0,
    suffix_flops_per_second=4e10,
    causal_flops_per_second=1.5e11,
    pair_seconds=2e-10,
    attention_exponent=3.0,
    pass_seconds=4e-6,
    prefill_seconds=1e-4,
    layer_seconds=1.5e-6,
    row_seconds=2e-7,
    head_seconds=1.5e-8,
    segment_seconds=4e-8,
    feature_seconds=3e-10,
    logit_seconds=1.5e-9,
)
TRAINING_RATES = TrainingRates(
    flops_per_second=1.2e11,
    half_tokens=80.0,
    half_features=60.0,
    bytes_per_second=1.5e10,
    step_seconds=1e-3,
    layer_seconds=8e-4,
    feature_seconds=1.2e-8,
    logit_seconds=4e-9,
    score_seconds=2e-9,
)
EFFORT = replace(
    QUICK,
    shapes=((64, 512), (96, 4096), (160, 2048), (256, 8192), (384, 4096)),
    steps_of_shape=8,
)
PRECISION = Precision("float32", "float32")
CHUNK_TOKENS, LAUNCH_SECONDS = 512, 1e-5
MACHINE = {
    "t2engine": "0.1.0",
    "python": "3.11.0",
    "packages": {"numpy": "2.0.0", "torch": "2.8.0"},
    "cpu": "A <planted> & noisy processor",
    "cores": 4,
    "memory_available_bytes": 8 << 30,
    "gpu": None,
    "extension": {"chosen_isa": "avx2"},
}
CONDITIONS = {
    "began": "2026-01-02T03:04:05+00:00",
    "device": "cpu",
    "threads": 4,
    "quick": True,
    "seconds": 30.0,
    "busy_rounds": 0,
    "others_cores": [0.01],
    "steal_cores": [0.0],
    "clock_hz": 3e9,
    "shapes_left_out": [],
    "monotonic": True,
}


def synthetic_measurements(
    seed: int = 0, noise: float = 0.03, rounds: int = 6, effort: Effort = EFFORT
) -> Measurements:
    generator = np.random.default_rng(seed)
    models: dict[str, ModelConfig] = {}
    exact = [*probe_points(), *step_points(effort, models), *training_points(effort, models)]
    points = [with_noise(point, noise, rounds, generator) for point in exact]
    return Measurements(
        machine=MACHINE,
        conditions={**CONDITIONS, "rounds": rounds},
        models=models,
        points=tuple(points),
        chunk_tokens=CHUNK_TOKENS,
    )


def with_noise(
    point: Measurement, noise: float, rounds: int, generator: np.random.Generator
) -> Measurement:
    factors = np.exp(noise * generator.standard_normal(rounds))
    return replace(point, seconds=tuple((point.seconds[0] * factors).tolist()))


def scaled(measured: Measurements, factor: float) -> Measurements:
    """The same on a machine that takes `factor` times as long for everything."""
    points = tuple(
        replace(point, seconds=tuple(factor * seconds for seconds in point.seconds))
        for point in measured.points
    )
    return replace(measured, points=points)


def name_of(config: ModelConfig) -> str:
    return f"llama-{config.hidden_size}x{config.num_layers}-v{config.vocab_size}"


# ---- exact points ------------------------------------------------------------------------------


def step_points(effort: Effort, models: dict[str, ModelConfig]) -> Iterable[Measurement]:
    plans = planned_steps(effort, PRECISION, 1e11, with_sharing=True)
    planned = {(p.config, p.step): p for plan in plans for p in plan}
    for entry in planned.values():
        models[name_of(entry.config)] = entry.config
        yield step_point(entry)


def step_point(planned: Planned) -> Measurement:
    config, step = planned.config, planned.step
    kind = "decode" if isinstance(step, DecodeStep) else "prefill"
    shape = {"model": name_of(config), "precision": show_precision(PRECISION), **asdict(step)}
    return Measurement(kind, shape, (planted_seconds(config, step),), planned.held_out)


def planted_seconds(config: ModelConfig, step: Step | PrefillStep) -> float:
    return float(step_seconds(RATES, tabulate([(config, PRECISION)], [step], CHUNK_TOKENS))[0])


def training_points(effort: Effort, models: dict[str, ModelConfig]) -> Iterable[Measurement]:
    for number, size in enumerate(effort.training_shapes):
        config = ladder_shape(*size)
        models[name_of(config)] = config
        for index, batch in enumerate(effort.training_batches):
            table = tabulate_training([config], [batch])
            seconds = float(training_seconds(TRAINING_RATES, table)[0])
            shape = {"model": name_of(config), "batch_size": batch[0], "sequence_len": batch[1]}
            held_out = number in HELD_OUT_SHAPES or (number + index) % EVERY == EVERY - 1
            yield Measurement("training", shape, (seconds,), held_out)


def probe_points() -> Iterable[Measurement]:
    yield probe("launch", {}, LAUNCH_SECONDS)
    for width in (256, 1024):
        for rows, share in ((1, 0.1), (16, 0.7), (256, 1.0)):
            flops, size = 2 * rows * width * width, 4 * width * width
            seconds = max(
                flops / (share * RATES.product_flops_per_second),
                size / RATES.cache_bytes_per_second,
            )
            shape = {"dtype": "float32", "rows": rows, "width": width}
            yield probe("product", shape, LAUNCH_SECONDS / 10 + seconds, flops, size)
    for size, rate in ((1 << 20, 9e10), (1 << 24, 5e10), (1 << 28, 3e10)):
        yield probe("read", {"bytes": size}, size / rate, 0, size)
    yield probe("copy", {"bytes": 1 << 27}, 2 * (1 << 27) / 2.5e10, 0, 2 << 27)
    yield probe("draw", {"rows": 64, "vocab_size": 8192}, 64 * 8192 * 1e-9)
    yield probe("sample", {}, 2e-5)


def probe(
    kind: str, shape: Mapping[str, Any], seconds: float, flops: int = 0, size: int = 0
) -> Measurement:
    return Measurement(kind, dict(shape), (seconds,), False, flops, size)
