"""Measure this machine: probes, whole steps of models, training steps, in turns.

What is measured is design.py's; how it takes turns, is kept and goes on is rounds.py's. The result
is plain data (costs.measurements), to which costs fits its models.

Units:  seconds, bytes.
Raises: ValueError for a precision or a device that cannot be measured here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from t2engine.costs.ladder import ladder_shape
from t2engine.costs.measurements import Measurement, Measurements, show_precision
from t2engine.costs.steps import DecodeStep
from t2engine.engine.memory import CHUNK_TOKENS, available_bytes
from t2engine.hardware.design import (
    EVERY,
    FULL,
    HELD_OUT_SHAPES,
    QUICK,
    Effort,
    Planned,
    planned_steps,
)
from t2engine.hardware.host import sample_task
from t2engine.hardware.load import describe, find_load_meter, is_busy
from t2engine.hardware.machine import examine
from t2engine.hardware.native_steps import NativeSteps, StoreMemory, random_model
from t2engine.hardware.probes import Probe, cpu_probes
from t2engine.hardware.rounds import Journal, Limits, Progress, Task, parse_line, run_rounds
from t2engine.hardware.training_steps import TrainingBench
from t2engine.metering import weight_bytes
from t2engine.schema import ModelConfig, Precision

DEFAULT_PRECISIONS = (
    Precision("float32", "float32"),
    Precision("bfloat16", "float32"),
    Precision("int8", "float32"),
    Precision("int8", "int8"),
)
SHARE_OF_MEMORY = 0.5  # of what is free, for models and stores
FIRST_PRODUCT = (256, 1024)  # rows and width of the product that says how fast this machine is
CAREFUL = 3  # times slower than that product is a step taken to be, for planning
EARLY_ROUNDS = 3
WATCHED_SECONDS = 1.0  # of the machine before anything is measured


@dataclass(frozen=True)
class Settings:
    """precisions: none stand for the default ones."""

    precisions: tuple[Precision, ...] = ()
    threads: int = 1
    quick: bool = False
    device: str = "cpu"

    @property
    def chosen(self) -> tuple[Precision, ...]:
        return self.precisions or (DEFAULT_PRECISIONS[:1] if self.quick else DEFAULT_PRECISIONS)

    @property
    def effort(self) -> Effort:
        return QUICK if self.quick else FULL


@dataclass(frozen=True)
class Point:
    """A task, and what its figures will be recorded as."""

    task: Task
    kind: str
    shape: dict[str, Any]
    held_out: bool = False
    flops: int = 0
    bytes: int = 0


def measure_machine(settings: Settings, partial: Path, tell: Progress) -> tuple[Measurements, bool]:
    """All measurements, and whether other programs kept the machine busy.

    partial: where measurements are kept until they are complete.
    """
    began, machine = datetime.now(timezone.utc), examine()
    header = journal_header(settings, partial)
    effort = fitting_effort(settings, available_bytes())
    tell(0.0, "building models of random weights")
    points = list(build_points(settings, effort, 2.0 ** header["log2_flops_per_second"]))
    limits = Limits(effort.seconds, effort.fewest_rounds, effort.most_rounds)
    journal = run_rounds([p.task for p in points], partial, header, limits, tell)
    models = {model_name(c): c for c in (p.shape.get("config") for p in points) if c is not None}
    measured = Measurements(
        machine=machine,
        conditions=conditions(settings, effort, journal, began),
        models=models,
        points=tuple(recorded(point, journal) for point in points),
        chunk_tokens=CHUNK_TOKENS,
    )
    return measured, journal.quiet_rounds < min(EARLY_ROUNDS, effort.fewest_rounds)


def why_busy(seconds: float = WATCHED_SECONDS) -> str | None:
    """What others do on this machine, where it is too much to measure beside; None where not."""
    meter, _ = find_load_meter()
    if meter is None:
        return None
    load = meter.sample(seconds)
    return describe(load) if is_busy(load) else None


def journal_header(settings: Settings, partial: Path) -> dict[str, Any]:
    """What a journal must agree on to be gone on with."""
    found = examine()
    return {
        "machine": {name: found[name] for name in ("t2engine", "cpu", "cores")},
        "settings": asdict(settings),
        "log2_flops_per_second": speed_of(partial),
    }


def speed_of(partial: Path) -> int:
    """A careful guess of FLOPs per second as a power of two, which seldom changes between runs."""
    if partial.exists():
        first = parse_line(partial.read_text(encoding="utf-8").partition("\n")[0]) or {}
        known = first.get("header", {}).get("log2_flops_per_second")
        if isinstance(known, int):
            return known
    rows, width = FIRST_PRODUCT
    probe = next(
        p
        for p in cpu_probes(("float32",), torch.get_num_threads())
        if p.kind == "product" and (p.shape["rows"], p.shape["width"]) == (rows, width)
    )
    seconds = min(probe.seconds() for _ in range(5))
    return math.floor(math.log2(probe.cost.flops / seconds / CAREFUL))


def fitting_effort(settings: Settings, free_bytes: int) -> Effort:
    """The effort without the largest shapes where their weights would not fit."""
    effort = settings.effort
    limit = SHARE_OF_MEMORY * free_bytes

    def needed(shapes: tuple[tuple[int, int], ...]) -> int:
        weights = sum(
            weight_bytes(ladder_shape(*shape), precision)
            for shape in shapes
            for precision in settings.chosen
        )
        return weights + effort.store_bytes * len({p.cache for p in settings.chosen})

    shapes = effort.shapes
    while len(shapes) > 3 and needed(shapes) > limit:
        shapes = shapes[:-1]
    if needed(shapes) > limit:
        raise ValueError(
            f"calibration needs {needed(shapes) / 2**20:,.0f} MiB for its smallest models, "
            f"expected at most {limit / 2**20:,.0f} MiB, half of what is free; end other programs"
        )
    return replace(effort, shapes=shapes)


# ---- what is timed -----------------------------------------------------------------------------


def build_points(settings: Settings, effort: Effort, flops_per_second: float) -> Iterator[Point]:
    for probe in cpu_probes(weights_of(settings), settings.threads):
        yield probe_point(probe)
    memories = {
        cache: StoreMemory(effort.store_bytes, cache)
        for cache in dict.fromkeys(p.cache for p in settings.chosen)
    }
    for number, precision in enumerate(settings.chosen):
        plans = planned_steps(effort, precision, flops_per_second, with_sharing=number == 0)
        yield from step_points(plans, precision, settings.threads, memories[precision.cache])
    yield from training_points(settings, effort)
    yield sample_point(settings.threads)


def weights_of(settings: Settings) -> tuple[str, ...]:
    return tuple(dict.fromkeys(["float32", *(p.weights for p in settings.chosen)]))


def probe_point(probe: Probe) -> Point:
    name = " ".join([probe.kind, *(f"{k}={v}" for k, v in probe.shape.items())])
    cost = probe.cost
    return Point(
        Task(name, probe.seconds), probe.kind, dict(probe.shape), False, cost.flops, cost.bytes
    )


def step_points(
    plans: list[list[Planned]], precision: Precision, threads: int, memory: StoreMemory
) -> Iterator[Point]:
    benches: dict[ModelConfig, NativeSteps] = {}
    seen: set[str] = set()
    for planned in (p for plan in plans for p in plan):
        config, step = planned.config, planned.step
        if config not in benches:
            model = random_model(config, precision, threads)
            benches[config] = NativeSteps(model, memory, max_samples(plans))
        bench = benches[config]
        kind = "decode" if isinstance(step, DecodeStep) else "prefill"
        name = model_name(config)
        numbers = " ".join(f"{k}={v}" for k, v in asdict(step).items())
        key = f"{kind} {name} {show_precision(precision)} {numbers}"
        if key not in seen:
            seen.add(key)
            shape = {"model": name, "precision": show_precision(precision), **asdict(step)}
            task = Task(key, lambda bench=bench, step=step: bench.seconds(step))  # type: ignore[misc]
            yield Point(task, kind, {"config": config, **shape}, planned.held_out)


def max_samples(plans: list[list[Planned]]) -> int:
    steps = (p.step for plan in plans for p in plan)
    return max(int(step.num_samples) for step in steps if isinstance(step, DecodeStep))


def training_points(settings: Settings, effort: Effort) -> Iterator[Point]:
    for number, shape in enumerate(effort.training_shapes):
        config = ladder_shape(*shape)
        bench = TrainingBench(config, "cpu", settings.threads)
        for index, (rows, tokens) in enumerate(effort.training_batches):
            held_out = number in HELD_OUT_SHAPES or (number + index) % EVERY == EVERY - 1
            sizes = {"batch_size": rows, "sequence_len": tokens}
            name = model_name(config)
            key = f"training {name} batch_size={rows} sequence_len={tokens}"
            task = Task(key, lambda b=bench, r=rows, t=tokens: b.step(r, t))  # type: ignore[misc]
            yield Point(task, "training", {"config": config, "model": name, **sizes}, held_out)


def sample_point(threads: int) -> Point:
    """What the host does for each sample, beside the steps."""
    return Point(Task("sample", sample_task(threads)), "sample", {})


def model_name(config: ModelConfig) -> str:
    return f"llama-{config.hidden_size}x{config.num_layers}-v{config.vocab_size}"


# ---- what comes out ----------------------------------------------------------------------------


def recorded(point: Point, journal: Journal) -> Measurement:
    shape = {name: value for name, value in point.shape.items() if name != "config"}
    seconds = journal.of_task(point.task.key)
    return Measurement(point.kind, shape, seconds, point.held_out, point.flops, point.bytes)


def conditions(
    settings: Settings, effort: Effort, journal: Journal, began: datetime
) -> dict[str, Any]:
    loads = [load for load in journal.loads.values() if load is not None]
    return {
        "began": began.isoformat(timespec="seconds"),
        "device": "cpu",
        "threads": settings.threads,
        "quick": settings.quick,
        "seconds": journal.elapsed,
        "rounds": len(journal.loads),
        "busy_rounds": sum(map(is_busy, loads)),
        "others_cores": [load.others for load in loads],
        "steal_cores": [load.steal for load in loads],
        "clock_hz": clock_hz(),
        "shapes_left_out": [list(s) for s in settings.effort.shapes if s not in effort.shapes],
        "monotonic": time.get_clock_info("perf_counter").monotonic,
    }


def clock_hz() -> float | None:
    """The processors' present clock, the mean of all; None where the system does not say."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return None
    lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("cpu MHz")]
    values = [float(line.partition(":")[2]) * 1e6 for line in lines]
    return sum(values) / len(values) if values else None
