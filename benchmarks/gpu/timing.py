"""How a call on a GPU is timed: CUDA events around replays of a graph, medians, turns taken.

A graph holds one call for each set of inputs, one after another, so that a call finds in L2 what
another set's call left there: `sets_for` gives as many sets as fill L2 several times over, as the
layers of a model do. Seconds are those of the graph divided by its calls.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.gpu.record import reason

Call = Callable[[], Any]
ROUNDS = 25
WARM_UP = 3
L2_TIMES = 3  # the bytes of all sets together, in sizes of L2
MOST_SETS = 128
LEAST_FREE = 0.2  # of the device's memory, left to graphs, workspaces and outputs


@dataclass(frozen=True)
class Timing:
    """Seconds of one call; `no_graph` says why no graph was replayed, None when one was."""

    seconds: float  # the median
    spread: float  # (third quartile - first quartile) / median
    calls: int  # to a round, each on its own set of inputs
    rounds: int
    no_graph: str | None


def sets_for(bytes_of_set: int, l2_bytes: int) -> int:
    return min(MOST_SETS, max(1, -(-L2_TIMES * l2_bytes // max(1, bytes_of_set))))


def why_too_large(size: int) -> str | None:
    """Why tensors of so many bytes do not fit the device now; None when they do."""
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    usable = free - LEAST_FREE * total
    if size <= usable:
        return None
    return f"needs {size / 2**30:.1f} GiB, {max(0.0, usable) / 2**30:.1f} GiB are usable"


@dataclass(frozen=True)
class Runner:
    """All calls of a variant as one: a graph's replay, or the calls themselves."""

    run: Call
    calls: int
    no_graph: str | None
    kept: Sequence[Call]  # a graph knows addresses alone: the tensors behind them must live


def capture(calls: Sequence[Call]) -> Runner:
    """Warmed up, on a stream of its own as capturing asks, then captured."""

    def run_all() -> None:
        for call in calls:
            call()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            run_all()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            run_all()
    except RuntimeError as error:
        torch.cuda.synchronize()
        return Runner(run_all, len(calls), reason(error), calls)
    return Runner(graph.replay, len(calls), None, calls)


def time_in_turns(runners: Mapping[str, Runner], rounds: int = ROUNDS) -> dict[str, Timing]:
    """Each runs once a round, so that a drift of the clocks falls on all alike."""
    events: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = {n: [] for n in runners}
    for turn in range(WARM_UP + rounds):
        for name, runner in runners.items():
            pair = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            pair[0].record()
            runner.run()
            pair[1].record()
            if turn >= WARM_UP:
                events[name].append(pair)
    torch.cuda.synchronize()
    return {
        name: summary(
            [start.elapsed_time(stop) / 1e3 / runners[name].calls for start, stop in pairs],
            runners[name],
        )
        for name, pairs in events.items()
    }


def summary(seconds: Sequence[float], runner: Runner) -> Timing:
    median = statistics.median(seconds)
    first, _, third = statistics.quantiles(seconds, n=4)
    return Timing(median, (third - first) / median, runner.calls, len(seconds), runner.no_graph)


def time_call(*calls: Call) -> Timing:
    """One variant alone; several calls are the same work on different inputs."""
    return time_in_turns({"": capture(calls)})[""]
