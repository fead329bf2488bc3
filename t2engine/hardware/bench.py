"""Benchmark one model on the CPU: prefill and decode steps, shared and not, beside the machine's peaks.

Steps are timed alone (native_steps.py), the machine's peaks by probes (probes.py), and a few whole
calls as a check of the steps, all in turns (rounds.py). FLOPs and bytes are the meter's. What
follows from the figures is costs.throughput's.

Units:  seconds, FLOPs, bytes.
Raises: ValueError for settings, a model or a memory that cannot be measured, before anything is.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from t2engine.costs.measurements import show_precision
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import read_profile
from t2engine.costs.steps import DecodeStep, PrefillStep, Step
from t2engine.costs.throughput import (
    FORMAT,
    VERSION,
    BenchResult,
    CallFigures,
    Peaks,
    StepFigures,
    break_evens,
    figures_of,
    gains_of,
    marginal_costs,
)
from t2engine.engine.intake import require
from t2engine.engine.llm import LLM
from t2engine.engine.memory import CHUNK_TOKENS, SHARE_OF_AVAILABLE, available_bytes
from t2engine.engine.native import NativeRuntime
from t2engine.hardware.bench_peers import (
    OURS,
    Ours,
    TimedCall,
    find_peers,
    peer_calls,
    versions,
)
from t2engine.hardware.bench_plan import (
    BenchSettings,
    Shapes,
    choose_shapes,
    copies_note,
    plan_store,
)
from t2engine.hardware.datasheets import find_datasheet
from t2engine.hardware.load import is_busy
from t2engine.hardware.machine import examine
from t2engine.hardware.native_steps import NativeSteps, StoreMemory
from t2engine.hardware.probes import CACHE_READ_BYTES, Probe, cpu_probes
from t2engine.hardware.rounds import Journal, Limits, Progress, Task, run_rounds
from t2engine.metering import Meter, parameter_count
from t2engine.schema import Cost, ModelConfig, Precision

LEAST_PRODUCT = (64, 1024)  # rows and width: smaller products reach no peak
UNTIMED = 1e-3  # seconds after which no round begins: their number alone counts


def bench_model(settings: BenchSettings, tell: Progress) -> BenchResult:
    began = datetime.now(timezone.utc)
    profile = None if settings.profile is None else read_profile(settings.profile)
    tell(0.0, "loading the model")
    llm = LLM(
        settings.model,
        device="cpu",
        dtype=settings.dtype,
        kv_cache_dtype=settings.kv_cache_dtype,
        threads=settings.threads,
        max_num_seqs=max(settings.counts),
    )
    costs = None if profile is None else MachineCosts(profile, show_precision(llm.precision))
    shapes = choose_shapes(settings, llm.config.max_context_len)
    bench, notes = open_steps(llm, shapes)
    steps: list[Step] = [*shapes.prefills(), *shapes.decode_steps()]
    probes = peak_probes(llm.precision.weights, llm.threads)
    calls, left_out = whole_calls(settings, llm, shapes, tell)
    tasks = [
        *(Task(probe_key(probe), probe.seconds, math.inf) for probe in probes),
        *(Task(str(step), lambda step=step: bench.seconds(step), math.inf) for step in steps),  # type: ignore[misc]
        *(Task(call_key(call), call.visit) for call in calls),
    ]
    journal = visit(tasks, settings.rounds, tell)
    peaks = peaks_of(probes, journal, settings)
    figures = [
        figures_of(
            *(step, journal.of_task(str(step)), metered(llm.config, llm.precision, step)),
            *(peaks, llm.precision.weights, predicted(costs, llm.config, step)),
        )
        for step in steps
    ]
    decode = figures[len(shapes.prefills()) :]
    gains = gains_of(decode)
    return BenchResult(
        format=FORMAT,
        version=VERSION,
        model=str(settings.model),
        parameters=parameter_count(llm.config),
        precision=show_precision(llm.precision),
        threads=llm.threads,
        machine=examine(),
        conditions=conditions(journal, began),
        peaks=peaks,
        prefill=tuple(figures[: len(shapes.prefills())]),
        decode=tuple(decode),
        gains=tuple(gains),
        break_even=tuple(break_evens(gains)),
        marginal=tuple(marginal_costs(decode)),
        calls=tuple(call_figures(calls, journal, decode)),
        peers_left_out=left_out,
        notes=(*shapes.notes, *notes, *profile_notes(costs, llm, figures)),
        busy=journal.quiet_rounds < settings.rounds,
    )


def open_steps(llm: LLM, shapes: Shapes) -> tuple[NativeSteps, tuple[str, ...]]:
    runtime = llm.runtime
    if not isinstance(runtime, NativeRuntime):
        raise ValueError("steps are timed in the C++ extension, which is not built; `make build`")
    limit = int(SHARE_OF_AVAILABLE * available_bytes())
    model = llm.config, llm.precision
    size = plan_store(*model, shapes, runtime.workspace_bytes, limit)
    memory = StoreMemory(size, llm.precision.cache)
    bench = NativeSteps(runtime, memory, max(shapes.num_samples))
    return bench, copies_note(*model, shapes, size)


def peak_probes(weights: str, threads: int) -> list[Probe]:
    """Large products at the weights' dtype and in float32, and reading from memory."""

    def is_wanted(probe: Probe) -> bool:
        if probe.kind == "product":
            shape = int(probe.shape["rows"]), int(probe.shape["width"])
            return all(a >= b for a, b in zip(shape, LEAST_PRODUCT, strict=True))
        return probe.kind == "read" and int(probe.shape["bytes"]) > CACHE_READ_BYTES

    dtypes = tuple(dict.fromkeys((weights, "float32")))
    return list(filter(is_wanted, cpu_probes(dtypes, threads)))


def whole_calls(
    settings: BenchSettings, llm: LLM, shapes: Shapes, tell: Progress
) -> tuple[list[TimedCall], dict[str, str]]:
    calls = [TimedCall(Ours(llm), shape) for shape in shapes.calls()]
    if not settings.peers:
        return calls, {}
    tell(0.0, "opening the peers")
    peers, left_out = find_peers(settings, llm)
    found, refused = peer_calls(peers, shapes.calls())
    return calls + found, left_out | refused


def visit(tasks: Sequence[Task], rounds: int, tell: Progress) -> Journal:
    """So many quiet rounds, or twice as many where others keep the machine busy."""
    done, total = count(1), rounds * len(tasks)
    limits = Limits(UNTIMED, rounds, 2 * rounds)

    def tell_share(_: float, what: str) -> None:
        tell(min(1.0, next(done) / total), what)

    with tempfile.TemporaryDirectory() as folder:
        return run_rounds(tasks, Path(folder) / "rounds.jsonl", {}, limits, tell_share)


# ---- figures -----------------------------------------------------------------------------------


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
    """The best of the probes, each by its median over the rounds."""
    products: dict[str, float] = {}
    read = 0.0
    for probe in probes:
        seconds = float(np.median(journal.of_task(probe_key(probe))))
        if probe.kind == "read":
            read = max(read, probe.cost.bytes / seconds)
        else:
            dtype = str(probe.shape["dtype"])
            products[dtype] = max(products.get(dtype, 0.0), probe.cost.flops / seconds)
    known = find_datasheet(examine()["cpu"])
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
    costs: MachineCosts | None, llm: LLM, figures: Sequence[StepFigures]
) -> tuple[str, ...]:
    if costs is None:
        return ()
    notes = [f"predictions are of a profile of {costs.profile.machine}"]
    threads = costs.profile.measured.conditions["threads"]
    if threads != llm.threads:
        notes.append(f"the profile was made on {threads} threads, this ran on {llm.threads}")
    refused = sum(figure.predicted_seconds is None for figure in figures)
    if refused:
        notes.append(f"{refused} steps exceed the memory that the profile's machine had free")
    return tuple(notes)


def conditions(journal: Journal, began: datetime) -> dict[str, Any]:
    loads = [load for load in journal.loads.values() if load is not None]
    return {
        "began": began.isoformat(timespec="seconds"),
        "device": "cpu",
        "seconds": journal.elapsed,
        "rounds": len(journal.loads),
        "busy_rounds": sum(map(is_busy, loads)),
        "others_cores": [load.others for load in loads],
        "steal_cores": [load.steal for load in loads],
        "peers": versions(),
    }


def probe_key(probe: Probe) -> str:
    return " ".join([probe.kind, *(f"{name}={value}" for name, value in probe.shape.items())])


def call_key(call: TimedCall) -> str:
    return f"call of {call.engine.name} {call.shape}"
