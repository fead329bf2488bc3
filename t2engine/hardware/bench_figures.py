"""What the rounds of a benchmark say: peaks, calls, predictions; and what the meter counts.

Units:  seconds, FLOPs, bytes; rates per second.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from t2engine.costs.comparison import other_machine
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.steps import DecodeStep, PrefillStep, Step
from t2engine.costs.throughput import CallFigures, Peaks, StepFigures
from t2engine.engine.memory import CHUNK_TOKENS
from t2engine.hardware.bench_peers import OURS, TimedCall, versions
from t2engine.hardware.bench_plan import BenchSettings
from t2engine.hardware.datasheets import find_datasheet
from t2engine.hardware.load import Load, describe, is_busy
from t2engine.hardware.machine import examine, processor_name
from t2engine.hardware.probes import Probe
from t2engine.hardware.rounds import Journal
from t2engine.metering import Meter
from t2engine.schema import Cost, ModelConfig, Precision


def metered(config: ModelConfig, precision: Precision, step: Step) -> Cost:
    """FLOPs and physical bytes of a step, as the engine's meter counts them."""
    n = 1 if isinstance(step, PrefillStep) else int(step.num_samples)
    meter, samples = Meter(config, n, precision), np.arange(n)
    if isinstance(step, DecodeStep):
        prompts = int(step.num_prompts)
        bounds = np.arange(prompts + 1) * n // prompts
        meter.decode(
            samples,
            segment_len=np.full(prompts, int(step.prefix_len)),
            segment_rows=np.stack([bounds[:-1], bounds[1:]], 1),
            suffix_len=np.full(n, int(step.suffix_len)),
            num_steps=1,
            seconds=0.0,
        )
    else:
        meter.prompt(samples)
        for start in range(0, step.prompt_len, CHUNK_TOKENS):
            meter.prefill(samples, start, min(start + CHUNK_TOKENS, step.prompt_len), 0.0)
    flops = meter.prefill_flops.sum() + meter.decode_flops.sum()
    return Cost(int(flops), int(meter.physical_bytes.sum()))


def peaks_of(probes: Sequence[Probe], journal: Journal, settings: BenchSettings) -> Peaks:
    """The best that any probe reached in any round: a peak is what the machine can give."""
    products: dict[str, float] = {}
    read = 0.0
    for probe in probes:
        seconds = min(journal.of_task(probe_key(probe)))
        if probe.kind == "read":
            read = max(read, probe.cost.bytes / seconds)
        else:
            dtype = str(probe.shape["dtype"])
            products[dtype] = max(products.get(dtype, 0.0), probe.cost.flops / seconds)
    known = find_datasheet(processor_name())
    given = settings.datasheet_flops, settings.datasheet_bytes
    if any(value is not None for value in given):
        return Peaks(products, read, *given, datasheet="as given")
    if known is None:
        return Peaks(products, read)
    return Peaks(products, read, known.flops_per_second, known.bytes_per_second, known.name)


def call_figures(
    calls: Sequence[TimedCall], journal: Journal, decode: Sequence[StepFigures]
) -> list[CallFigures]:
    """Ours come first, and every peer is held against ours of the same shape."""
    alone = {(s.num_samples, s.prompt_tokens): s.seconds for s in decode if s.num_prompts == 1}
    ours: dict[Any, float] = {}
    figures = []
    for call in calls:
        shape, rounds = call.shape, journal.of_task(call_key(call))
        decoding = float(np.median([call.decoding[seconds] for seconds in rounds]))
        step = decoding / (shape.new_tokens - 1)
        is_ours = call.engine.name == OURS
        if is_ours:
            ours[shape] = step
        figures.append(
            CallFigures(
                *(call.engine.name, call.engine.precision),
                *(shape.num_samples, shape.prompt_tokens, shape.new_tokens),
                rounds=rounds,
                tokens_per_second=shape.num_samples * shape.new_tokens / float(np.median(rounds)),
                decode_tokens_per_second=shape.num_samples / step,
                step_seconds=step,
                over_step=step / alone[shape.num_samples, shape.prompt_tokens] if is_ours else None,
                ours_over=None if is_ours else step / ours[shape],
            )
        )
    return figures


def predicted(costs: MachineCosts | None, config: ModelConfig, step: Step) -> float | None:
    """None without a profile, and where it refuses the step: see profile_notes."""
    if costs is None:
        return None
    try:
        return costs.step(config, step).seconds
    except ValueError:
        return None


def profile_notes(
    costs: MachineCosts | None, threads: int, figures: Sequence[StepFigures]
) -> tuple[str, ...]:
    if costs is None:
        return ()
    notes = [f"predictions are of a profile of {costs.profile.machine}"]
    other = other_machine(costs.profile, examine())
    if other is not None:
        notes.append(other)
    there = costs.profile.measured.conditions["threads"]
    if there != threads:
        notes.append(f"the profile was made on {there} threads, this ran on {threads}")
    refused = sum(figure.predicted_seconds is None for figure in figures)
    if refused:
        notes.append(f"{refused} steps exceed the memory that the profile's machine had free")
    return tuple(notes)


def conditions(journal: Journal, began: datetime, before: Load | None) -> dict[str, Any]:
    """before: the load while this process slept."""
    loads = [load for load in journal.loads.values() if load is not None]
    return {
        "began": began.isoformat(timespec="seconds"),
        "device": "cpu",
        "seconds": journal.elapsed,
        "rounds": len(journal.loads),
        "load_before": None if before is None else describe(before),
        "busy_rounds": sum(map(is_busy, loads)),
        "others_cores": [load.others for load in loads],
        "steal_cores": [load.steal for load in loads],
        "peers": versions(),
    }


def probe_key(probe: Probe) -> str:
    return " ".join([probe.kind, *(f"{name}={value}" for name, value in probe.shape.items())])


def call_key(call: TimedCall) -> str:
    return f"call of {call.engine.name} {call.shape}"
