"""Joules go to the window they were used in, within the error that is stated."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field

import pytest

from t2engine.hardware.energy import EnergyMeter, IdlePower, measure_idle
from tests.hardware.fakes import Clock


@dataclass
class Counter:
    """A machine of some power, with a counter that is brought up to date now and then."""

    clock: Clock
    watts: float
    resolution_seconds: float = 0.1
    phase: float = 0.0  # of the updates
    longest_seconds: float = math.inf
    name: str = "a counter"
    used: list[tuple[float, float]] = field(default_factory=list)  # since when, watts

    def draw(self, watts: float) -> None:
        self.used.append((self.clock.now, self.watts))
        self.watts = watts

    def joules_at(self, moment: float) -> float:
        """As if it had always drawn its first power before."""
        spans = [*self.used, (math.inf, self.watts)]
        joules, began = 0.0, 0.0
        for until, watts in spans:
            joules += watts * max(0.0, min(until, moment) - began)
            began = max(began, min(until, moment))
        return joules

    def read(self) -> float:
        updates = math.floor((self.clock.now - self.phase) / self.resolution_seconds)
        return self.joules_at(self.phase + updates * self.resolution_seconds)


def idle_of(counter, seconds=5.0):
    return measure_idle(counter, seconds, clock=counter.clock, sleep=counter.clock.sleep)


@pytest.mark.parametrize("seed", range(40))
def test_work_is_told_from_idling_within_the_error(seed):
    """Any idle and working power, window, and moment of the counter's updates."""
    draw = random.Random(seed)
    clock = Clock()
    idle_watts, watts = draw.uniform(5, 100), draw.uniform(100, 700)
    counter = Counter(clock, idle_watts, phase=draw.uniform(0, 0.1))
    meter = EnergyMeter(counter, idle_of(counter, draw.uniform(2, 10)), clock)
    clock.sleep(draw.uniform(0, 1))
    seconds = draw.uniform(0.2, 20)
    with meter.window() as window:
        counter.draw(watts)
        clock.sleep(seconds)
    reading = window.reading
    assert meter.idle.watts == pytest.approx(idle_watts, abs=meter.idle.error_watts)
    true_joules = (watts - idle_watts) * seconds
    assert reading.net_joules == pytest.approx(true_joules, abs=reading.error_joules)
    assert reading.seconds == pytest.approx(seconds)
    # Nor is the error so wide that this says nothing.
    widest_ends = 0.2 * watts * (seconds + 0.1) / (seconds - 0.1)
    assert reading.error_joules <= widest_ends + 0.25 * idle_watts * seconds


def test_a_fine_counter_of_steady_power_has_nearly_no_error():
    counter = Counter(Clock(), 40.0, resolution_seconds=0.001)
    meter = EnergyMeter(counter, idle_of(counter), counter.clock)
    with meter.window() as window:
        counter.draw(140.0)
        counter.clock.sleep(10.0)
    assert window.reading.joules == pytest.approx(1400.0, abs=0.3)
    assert window.reading.idle_joules == pytest.approx(400.0, abs=0.3)
    assert window.reading.error_joules == pytest.approx(2 * 0.14, abs=0.3)
    assert window.reading.net_joules == pytest.approx(1000.0, abs=window.reading.error_joules)


def test_idle_power_that_wanders_widens_the_error():
    """Every other piece of a second draws 10 watts more."""
    counter = Counter(Clock(), 50.0, resolution_seconds=0.001)

    def sleep(seconds):
        counter.draw(110.0 - counter.watts)
        counter.clock.sleep(seconds)

    idle = measure_idle(counter, 10.0, clock=counter.clock, sleep=sleep)
    assert idle.watts == pytest.approx(55.0, abs=0.1)
    deviation = 5.0 * math.sqrt(10 / 9)
    assert idle.error_watts == pytest.approx(deviation, abs=0.1)
    reading = EnergyMeter(counter, idle, counter.clock).attribute(1000.0, 10.0)
    assert reading.error_joules == pytest.approx(10 * deviation + 2 * 0.1, abs=1.0)


def test_pieces_add_up_to_the_whole():
    """Windows that follow each other hold together what one over all of them holds."""
    counter = Counter(Clock(), 30.0, phase=0.03)
    meter = EnergyMeter(counter, idle_of(counter), counter.clock)
    joules = 0.0
    with meter.window() as whole:
        for watts in (200.0, 90.0, 400.0):
            counter.draw(watts)
            with meter.window() as part:
                counter.clock.sleep(1.234)
            joules += part.reading.joules
    assert joules == pytest.approx(whole.reading.joules)


def test_a_window_shorter_than_the_counter_sees_is_refused():
    counter = Counter(Clock(), 30.0)
    meter = EnergyMeter(counter, idle_of(counter), counter.clock)
    with (
        pytest.raises(ValueError, match=r"longer than 0\.1 s.* a counter, got 0\.05 s; repeat"),
        meter.window(),
    ):
        counter.clock.sleep(0.05)


def test_a_window_without_joules_is_not_without_error():
    idle = IdlePower(watts=50.0, error_watts=0.0, seconds=5.0)
    reading = EnergyMeter(Counter(Clock(), 50.0), idle).attribute(0.0, 0.2)
    assert reading.error_joules == 2 * 50.0 * 0.1


@pytest.mark.parametrize(("resolution", "least"), [(0.1, 2.0), (0.001, 0.02)])
def test_an_idle_window_that_is_too_short_is_refused(resolution, least):
    counter = Counter(Clock(), 30.0, resolution_seconds=resolution)
    idle_of(counter, least)
    with pytest.raises(ValueError, match=f"seconds must be at least {least:g}"):
        idle_of(counter, 0.99 * least)


def test_a_counter_that_stands_still_is_refused():
    with pytest.raises(ValueError, match="a counter must count while the machine idles, got 0"):
        idle_of(Counter(Clock(), 0.0))


def test_what_the_work_raises_is_raised():
    counter = Counter(Clock(), 30.0)
    meter = EnergyMeter(counter, idle_of(counter), counter.clock)
    with pytest.raises(KeyError), meter.window() as window:
        raise KeyError
    assert not hasattr(window, "reading")


def test_a_counter_that_turns_is_read_while_the_work_runs():
    class Turning(Counter):
        reads = 0

        def read(self):
            self.reads += 1
            return super().read()

    counter = Turning(Clock(), 30.0, longest_seconds=0.02)
    meter = EnergyMeter(counter, idle_of(counter), counter.clock)
    with meter.window():
        counter.clock.sleep(1.0)
        before = counter.reads
        deadline = time.monotonic() + 30
        while counter.reads < before + 5:
            assert time.monotonic() < deadline, "nobody reads the counter"
            time.sleep(0.01)
    after = counter.reads
    time.sleep(0.1)
    assert counter.reads == after, "somebody still reads the counter"


def test_a_reading_is_plain_data():
    reading = EnergyMeter(Counter(Clock(), 1.0), IdlePower(3.0, 0.5, 5.0)).attribute(100.0, 10.0)
    fields = json.loads(json.dumps(asdict(reading)))
    assert fields["joules"] - fields["idle_joules"] == reading.net_joules == 70.0
    assert json.loads(json.dumps(asdict(IdlePower(3.0, 0.5, 5.0))))["watts"] == 3.0


@pytest.mark.parametrize("name", ["energy", "energy_counters", "load", "nvml", "process_times"])
def test_torch_is_not_imported(name):
    code = f"import sys, t2engine.hardware.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
