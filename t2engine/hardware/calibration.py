"""Measure this machine or its GPU: probes, whole steps of models, training steps, in turns.

What is measured is design.py's; how, platform.py's; how it takes turns, is kept and goes on is
rounds.py's. The result is plain data (costs.measurements), to which costs fits its models.

Units:  seconds, bytes.
Raises: ValueError for a precision or a device that cannot be measured here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from t2engine.costs.ladder import ladder_shape
from t2engine.costs.measurements import Measurement, Measurements, show_precision
from t2engine.costs.steps import DecodeStep
from t2engine.hardware.design import EVERY, HELD_OUT_SHAPES, Effort, Planned, planned_steps
from t2engine.hardware.energy_counters import find_counter
from t2engine.hardware.energy_points import EnergyTask, choose_tasks, measure_energy
from t2engine.hardware.load import describe, find_load_meter, is_busy
from t2engine.hardware.machine import examine, is_virtual
from t2engine.hardware.native_steps import Window
from t2engine.hardware.platform import (
    Platform,
    StepBench,
    choose_platform,
    default_precisions,
    device_load,
    why_device_busy,
)
from t2engine.hardware.probes import Probe
from t2engine.hardware.rounds import Journal, Limits, Progress, Task, parse_line, run_rounds
from t2engine.schema import ModelConfig, Precision

FIRST_PRODUCT = (256, 1024)  # rows and width of the product that says how fast this machine is
CAREFUL = 3  # times slower than that product is a step taken to be, for planning
EARLY_ROUNDS = 3
WATCHED_SECONDS = 1.0  # of the machine before anything is measured


@dataclass(frozen=True)
class Settings:
    """precisions: none stand for the default ones of the device, "cpu" or "cuda"."""

    precisions: tuple[Precision, ...] = ()
    threads: int = 1
    quick: bool = False
    device: str = "cpu"

    @property
    def chosen(self) -> tuple[Precision, ...]:
        return self.precisions or default_precisions(self.device, self.quick)


@dataclass(frozen=True)
class Point:
    """A task, and what its figures will be recorded as. repeat: as an EnergyTask's, of a step."""

    task: Task
    kind: str
    shape: dict[str, Any]
    held_out: bool = False
    flops: int = 0
    bytes: int = 0
    repeat: Callable[[float, Window], int] | None = None


def measure_machine(
    settings: Settings, partial: Path, tell: Progress, platform: Platform | None = None
) -> tuple[Measurements, bool]:
    """All measurements, and whether other programs kept the machine busy.

    partial: where measurements are kept until they are complete. platform: None takes the device's.
    """
    began, load = datetime.now(timezone.utc), device_load(settings.device)
    platform = platform or choose_platform(
        settings.device, settings.chosen, settings.threads, settings.quick
    )
    machine = {**examine(), **platform.machine()}
    header = journal_header(settings, platform, partial)
    effort = fitting_effort(platform, settings.chosen)
    tell(0.0, "building models of random weights")
    flops_per_second = 2.0 ** header["log2_flops_per_second"]
    points = list(build_points(settings, platform, effort, flops_per_second))
    limits = Limits(effort.seconds, effort.fewest_rounds, effort.most_rounds)
    journal = run_rounds([p.task for p in points], partial, header, limits, tell)
    models = {model_name(c): c for c in (p.shape.get("config") for p in points) if c is not None}
    measured = Measurements(
        machine=machine,
        conditions={
            **conditions(settings, platform, effort, journal, began),
            "device_load": load,
        },
        models=models,
        points=tuple(recorded(point, journal) for point in points),
        chunk_tokens=platform.chunk_tokens,
        row_buckets=platform.row_buckets,
        energy=measure_energy(find_counter(platform.name), energy_tasks(points), tell),
    )
    busy = journal.quiet_rounds < min(EARLY_ROUNDS, effort.fewest_rounds)
    return measured, busy or why_device_busy(load) is not None


def why_busy(seconds: float = WATCHED_SECONDS, device: str = "cpu") -> str | None:
    """What others do on this machine, where it is too much to measure beside; None where not."""
    meter, _ = find_load_meter()
    if meter is not None:
        load = meter.sample(seconds)
        if is_busy(load):
            return describe(load)
    return why_device_busy(device_load(device))


def journal_header(settings: Settings, platform: Platform, partial: Path) -> dict[str, Any]:
    """What a journal must agree on to be gone on with."""
    found = examine()
    return {
        "machine": {name: found[name] for name in ("t2engine", "cpu", "cores", "gpu")},
        "settings": asdict(settings),
        "log2_flops_per_second": speed_of(platform, partial),
    }


def speed_of(platform: Platform, partial: Path) -> int:
    """A careful guess of FLOPs per second as a power of two, which seldom changes between runs."""
    if partial.exists():
        first = parse_line(partial.read_text(encoding="utf-8").partition("\n")[0]) or {}
        known = first.get("header", {}).get("log2_flops_per_second")
        if isinstance(known, int):
            return known
    rows, width = FIRST_PRODUCT
    probe = next(
        p
        for p in platform.probes(("float32",))
        if p.kind == "product" and (p.shape["rows"], p.shape["width"]) == (rows, width)
    )
    seconds = min(probe.seconds() for _ in range(5))
    return math.floor(math.log2(probe.cost.flops / seconds / CAREFUL))


def fitting_effort(platform: Platform, precisions: tuple[Precision, ...]) -> Effort:
    """The effort without the largest shapes where their weights would not fit."""
    effort, limit = platform.effort, platform.share_of_memory * platform.memory_bytes
    while len(effort.shapes) > 3 and platform.needed_bytes(effort, precisions) > limit:
        effort = replace(effort, shapes=effort.shapes[:-1])
    needed = platform.needed_bytes(effort, precisions)
    if needed > limit:
        raise ValueError(
            f"calibration needs {needed / 2**20:,.0f} MiB for its smallest models, expected at "
            f"most {limit / 2**20:,.0f} MiB, {platform.share_of_memory:.0%} of what is free; end "
            "other programs"
        )
    return effort


# ---- what is timed -----------------------------------------------------------------------------


def build_points(
    settings: Settings, platform: Platform, effort: Effort, flops_per_second: float
) -> Iterator[Point]:
    for probe in platform.probes(weights_of(settings)):
        yield probe_point(probe)
    for number, precision in enumerate(settings.chosen):
        plans = planned_steps(effort, precision, flops_per_second, with_sharing=number == 0)
        yield from step_points(plans, precision, platform)
    yield from training_points(platform, effort)
    yield Point(Task("sample", platform.sample_task()), "sample", {})  # what the host does for one


def weights_of(settings: Settings) -> tuple[str, ...]:
    return tuple(dict.fromkeys(["float32", *(p.weights for p in settings.chosen)]))


def probe_point(probe: Probe) -> Point:
    name = " ".join([probe.kind, *(f"{k}={v}" for k, v in probe.shape.items())])
    cost = probe.cost
    return Point(
        Task(name, probe.seconds), probe.kind, dict(probe.shape), False, cost.flops, cost.bytes
    )


def step_points(
    plans: list[list[Planned]], precision: Precision, platform: Platform
) -> Iterator[Point]:
    benches: dict[ModelConfig, StepBench] = {}
    seen: set[str] = set()
    for planned in (p for plan in plans for p in plan):
        config, step = planned.config, planned.step
        if config not in benches:
            benches[config] = platform.steps(config, precision, max_samples(plans))
        bench = benches[config]
        kind = "decode" if isinstance(step, DecodeStep) else "prefill"
        name = model_name(config)
        numbers = " ".join(f"{k}={v}" for k, v in asdict(step).items())
        key = f"{kind} {name} {show_precision(precision)} {numbers}"
        if key not in seen:
            seen.add(key)
            shape = {"model": name, "precision": show_precision(precision), **asdict(step)}
            task = Task(key, functools.partial(bench.seconds, step))
            repeat = functools.partial(bench.repeat, step)
            yield Point(task, kind, {"config": config, **shape}, planned.held_out, repeat=repeat)


def max_samples(plans: list[list[Planned]]) -> int:
    steps = (p.step for plan in plans for p in plan)
    return max(int(step.num_samples) for step in steps if isinstance(step, DecodeStep))


def training_points(platform: Platform, effort: Effort) -> Iterator[Point]:
    for number, shape in enumerate(effort.training_shapes):
        config = ladder_shape(*shape)
        bench = platform.training(config)
        for index, (rows, tokens) in enumerate(effort.training_batches):
            held_out = number in HELD_OUT_SHAPES or (number + index) % EVERY == EVERY - 1
            sizes = {"batch_size": rows, "sequence_len": tokens}
            name = model_name(config)
            key = f"training {name} batch_size={rows} sequence_len={tokens}"
            task = Task(key, functools.partial(bench.step, rows, tokens))
            yield Point(task, "training", {"config": config, "model": name, **sizes}, held_out)


def energy_tasks(points: Sequence[Point]) -> list[EnergyTask]:
    return choose_tasks(
        [
            EnergyTask(point.kind, recorded_shape(point), point.repeat)
            for point in points
            if point.repeat is not None
        ]
    )


def model_name(config: ModelConfig) -> str:
    return f"llama-{config.hidden_size}x{config.num_layers}-v{config.vocab_size}"


# ---- what comes out ----------------------------------------------------------------------------


def recorded(point: Point, journal: Journal) -> Measurement:
    return Measurement(
        *(point.kind, recorded_shape(point), journal.of_task(point.task.key)),
        *(point.held_out, point.flops, point.bytes),
    )


def recorded_shape(point: Point) -> dict[str, Any]:
    return {name: value for name, value in point.shape.items() if name != "config"}


def conditions(
    settings: Settings, platform: Platform, effort: Effort, journal: Journal, began: datetime
) -> dict[str, Any]:
    loads = [load for load in journal.loads.values() if load is not None]
    return {
        "began": began.isoformat(timespec="seconds"),
        "device": platform.name,
        "threads": settings.threads,
        "quick": settings.quick,
        "seconds": journal.elapsed,
        "rounds": len(journal.loads),
        "busy_rounds": sum(map(is_busy, loads)),
        "others_cores": [load.others for load in loads],
        "steal_cores": [load.steal for load in loads],
        "clock_hz": clock_hz(),
        "shapes_left_out": [list(s) for s in platform.effort.shapes if s not in effort.shapes],
        "virtual": is_virtual(),
    }


def clock_hz() -> float | None:
    """The processors' present clock, the mean of all; None where the system does not say."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return None
    lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("cpu MHz")]
    values = [float(line.partition(":")[2]) * 1e6 for line in lines]
    return sum(values) / len(values) if values else None
