"""The joules of some of the steps that a calibration times, where the machine counts joules.

    {"counter": "NVML ...", "reason": null, "idle_watts": 71.0, "idle_error_watts": 1.2,
     "points": [{"kind": "decode", "shape": {...}, "seconds": 2e-3, "joules": 0.8,
                 "net_joules": 0.6, "error_joules": 0.02, "repeats": 500}, ...]}

A point's numbers are of one step: those of a window in which nothing but `repeats` such steps ran,
divided by them. joules are all that the counter counts, net_joules those beyond the idle machine's.
Without a counter there is nothing but the reason:

    {"counter": null, "reason": ..., "points": []}

Units:  joules, watts, seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from t2engine.hardware.energy import EnergyMeter, EnergyWindow, measure_idle
from t2engine.hardware.energy_counters import EnergyCounter
from t2engine.hardware.native_steps import Window

IDLE_SECONDS = 2.0
WINDOW_SECONDS, WINDOW_RESOLUTIONS = 1.0, 20  # of a point, at least
DECODE_POINTS, PREFILL_POINTS = 5, 3

T = TypeVar("T")


@dataclass(frozen=True)
class EnergyTask:
    """A step that can be repeated. repeat(seconds, window) fills the window with such steps, for
    about so long at least, and says how many there were."""

    kind: str
    shape: dict[str, Any]
    repeat: Callable[[float, Window], int]


def choose_tasks(tasks: Sequence[EnergyTask]) -> list[EnergyTask]:
    """Five decode steps of one prompt and three prefills, evenly through the list as planned."""
    decode = [t for t in tasks if t.kind == "decode" and t.shape["num_prompts"] == 1]
    prefill = [t for t in tasks if t.kind == "prefill"]
    return [*evenly(decode, DECODE_POINTS), *evenly(prefill, PREFILL_POINTS)]


def evenly(items: Sequence[T], count: int) -> list[T]:
    """The middles of `count` equal parts; all where there are no more."""
    if len(items) <= count:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def measure_energy(
    found: tuple[EnergyCounter | None, str | None],
    tasks: Sequence[EnergyTask],
    tell: Callable[[float, str], None],
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """found: as find_counter gives it. tell: the share done, and what is going on."""
    counter, reason = found
    if counter is None:
        return {"counter": None, "reason": reason, "points": []}
    tell(0.0, "counting the joules of the idle machine")
    try:
        idle = measure_idle(counter, IDLE_SECONDS, clock=clock, sleep=sleep)
    except ValueError as error:  # it stands still, as some virtual machines' do
        return {"counter": None, "reason": str(error), "points": []}
    meter = EnergyMeter(counter, idle, clock)
    points = []
    for number, task in enumerate(tasks):
        tell(number / len(tasks), f"counting joules: {task.kind} {task.shape['model']}")
        points.append(measure_point(meter, task))
    return {
        "counter": counter.name,
        "reason": None,
        "idle_watts": idle.watts,
        "idle_error_watts": idle.error_watts,
        "points": points,
    }


def measure_point(meter: EnergyMeter, task: EnergyTask) -> dict[str, Any]:
    least = max(WINDOW_SECONDS, WINDOW_RESOLUTIONS * meter.counter.resolution_seconds)
    windows: list[EnergyWindow] = []

    @contextmanager
    def window() -> Iterator[None]:
        with meter.window() as opened:
            yield
        windows.append(opened)

    repeats = task.repeat(least, window())
    [reading] = [window.reading for window in windows]
    return {
        "kind": task.kind,
        "shape": dict(task.shape),
        "seconds": reading.seconds / repeats,
        "joules": reading.joules / repeats,
        "net_joules": reading.net_joules / repeats,
        "error_joules": reading.error_joules / repeats,
        "repeats": repeats,
    }
