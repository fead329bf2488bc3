"""Benchmark one model on the CPU: prefill and decode steps, shared and not, beside its peaks.

Steps are timed alone (native_steps.py), the machine's peaks by probes (probes.py), and a few whole
calls as a check of the steps, all in turns (rounds.py). FLOPs and bytes are the meter's. What
follows from the figures is costs.throughput's.

Units:  seconds, FLOPs, bytes.
Raises: ValueError for settings, a model or a memory that cannot be measured, before anything is.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import partial
from itertools import count
from pathlib import Path

from t2engine.costs.measurements import show_precision
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import read_profile
from t2engine.costs.steps import Step
from t2engine.costs.throughput import (
    FORMAT,
    VERSION,
    BenchResult,
    break_evens,
    figures_of,
    gains_of,
    marginal_costs,
)
from t2engine.engine.llm import LLM
from t2engine.engine.memory import SHARE_OF_AVAILABLE, available_bytes
from t2engine.engine.native import NativeRuntime
from t2engine.hardware.bench_figures import (
    call_figures,
    call_key,
    conditions,
    metered,
    peaks_of,
    predicted,
    probe_key,
    profile_notes,
)
from t2engine.hardware.bench_peers import Ours, TimedCall, find_peers, peer_calls
from t2engine.hardware.bench_plan import (
    BenchSettings,
    Shapes,
    choose_shapes,
    copies_note,
    plan_store,
)
from t2engine.hardware.load import find_load_meter
from t2engine.hardware.machine import examine
from t2engine.hardware.native_steps import NativeSteps, StoreMemory
from t2engine.hardware.probes import CACHE_READ_BYTES, Probe, cpu_probes
from t2engine.hardware.rounds import Journal, Limits, Progress, Task, run_rounds
from t2engine.metering import parameter_count

LEAST_PRODUCT = (64, 1024)  # rows and width: smaller products reach no peak
VISIT_SECONDS = 0.02  # of a step, unless one takes longer
UNTIMED = 1e-3  # seconds after which no round begins: their number alone counts
LOOK_SECONDS = 0.3  # at who else is at work, before anything begins
CALL_ALLOWANCE = 1.0  # seconds of a call in each round; longer ones come less often


def bench_model(settings: BenchSettings, tell: Progress) -> BenchResult:
    began = datetime.now(timezone.utc)
    profile = None if settings.profile is None else read_profile(settings.profile)
    meter, _ = find_load_meter()
    before = None if meter is None else meter.sample(LOOK_SECONDS)
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
        *(Task(str(step), partial(typical_seconds, bench, step), math.inf) for step in steps),
        *(Task(call_key(call), call.visit, CALL_ALLOWANCE) for call in calls),
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
        conditions=conditions(journal, began, before),
        peaks=peaks,
        prefill=tuple(figures[: len(shapes.prefills())]),
        decode=tuple(decode),
        gains=tuple(gains),
        break_even=tuple(break_evens(gains)),
        marginal=tuple(marginal_costs(decode)),
        calls=tuple(call_figures(calls, journal, decode)),
        peers_left_out=left_out,
        notes=(*shapes.notes, *notes, *profile_notes(costs, llm.threads, figures)),
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


def typical_seconds(bench: NativeSteps, step: Step) -> float:
    """The median over a visit: short steps are timed often, since single ones are all jitter."""
    timed, began = [bench.seconds(step)], time.perf_counter()
    while time.perf_counter() - began < VISIT_SECONDS:
        timed.append(bench.seconds(step))
    return statistics.median(timed)


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
