"""The joules of a piece of work, beyond what the idle machine takes, with the error they carry.

    net_joules   = joules - idle watts x seconds
    error_joules = 2 resolution x P + idle error x seconds,    P = joules / (seconds - resolution)

A value that is read is up to `resolution` old, so at either end of a window the counter may lack
P x resolution. P is the most that the mean power in the window can have been; twice it covers ends
that draw up to twice the mean. What the sensor itself gets wrong is not in it.

    counter, why_not = find_counter("cpu")
    meter = EnergyMeter(counter, measure_idle(counter, seconds=5))
    with meter.window() as window:
        llm.generate(prompts, params)  # on a GPU, synchronise before the window ends
    window.reading.net_joules

Units:  joules, watts, seconds.
Raises: ValueError when a window is too short for the counter, or the counter stands still.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from t2engine.hardware.energy_counters import EnergyCounter

PIECES = 10  # of an idle window, whose spread is the idle power's
PIECE_RESOLUTIONS = 10  # in a piece, at least: its own ends are then off by a tenth


@dataclass(frozen=True)
class IdlePower:
    watts: float
    error_watts: float  # standard deviation between pieces, and the counter's own resolution
    seconds: float


@dataclass(frozen=True)
class EnergyReading:
    joules: float  # of all that the counter counts
    idle_joules: float  # that the idle machine would have taken meanwhile
    seconds: float
    error_joules: float  # of net_joules, to either side

    @property
    def net_joules(self) -> float:
        """Below 0 when the work took less than the error of the idle power."""
        return self.joules - self.idle_joules


class EnergyWindow:
    reading: EnergyReading  # from the end of the window on


@dataclass(frozen=True)
class EnergyMeter:
    counter: EnergyCounter
    idle: IdlePower
    clock: Callable[[], float] = time.perf_counter

    @contextmanager
    def window(self) -> Iterator[EnergyWindow]:
        window = EnergyWindow()
        with turns_watched(self.counter):
            joules, began = self.counter.read(), self.clock()
            yield window
            joules, seconds = self.counter.read() - joules, self.clock() - began
        window.reading = self.attribute(joules, seconds)

    def attribute(self, joules: float, seconds: float) -> EnergyReading:
        ends = error_of_ends(self.counter, joules, seconds, self.idle.watts)
        return EnergyReading(
            joules=joules,
            idle_joules=self.idle.watts * seconds,
            seconds=seconds,
            error_joules=ends + self.idle.error_watts * seconds,
        )


def measure_idle(
    counter: EnergyCounter,
    seconds: float,
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> IdlePower:
    """The power while the caller sleeps: everything is loaded, and nothing runs."""
    piece = PIECE_RESOLUTIONS * counter.resolution_seconds
    pieces = min(PIECES, int(seconds / piece + 1e-9))  # the quotient may be a hair below a whole
    if pieces < 2:
        raise ValueError(
            f"seconds must be at least {2 * piece:g} to measure idle power with {counter.name}, "
            f"got {seconds:g}"
        )
    reads = []
    with turns_watched(counter):
        for place in range(pieces + 1):
            if place > 0:
                sleep(seconds / pieces)
            reads.append((counter.read(), clock()))
    powers = [
        (reads[i + 1][0] - reads[i][0]) / (reads[i + 1][1] - reads[i][1]) for i in range(pieces)
    ]
    joules, took = reads[-1][0] - reads[0][0], reads[-1][1] - reads[0][1]
    if joules <= 0:
        raise ValueError(
            f"{counter.name} must count while the machine idles, got {joules:g} joules in "
            f"{took:g} s: it stands still, so it measures nothing here"
        )
    error = statistics.stdev(powers) + error_of_ends(counter, joules, took) / took
    return IdlePower(joules / took, error, took)


def error_of_ends(
    counter: EnergyCounter, joules: float, seconds: float, least_watts: float = 0.0
) -> float:
    resolution = counter.resolution_seconds
    if seconds <= resolution:
        raise ValueError(
            f"a window must last longer than {resolution:g} s, the time between two values of "
            f"{counter.name}, got {seconds:g} s; repeat the work within one window"
        )
    return 2 * resolution * max(joules / (seconds - resolution), least_watts)


@contextmanager
def turns_watched(counter: EnergyCounter) -> Iterator[None]:
    """Reads the counter beside the caller's work, so often that none of its turns is missed."""
    if math.isinf(counter.longest_seconds):
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(counter.longest_seconds / 2):
            counter.read()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
