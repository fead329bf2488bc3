"""Joules of steps with a counter that counts what the test says, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from t2engine.hardware.energy_points import (
    DECODE_POINTS,
    IDLE_SECONDS,
    PREFILL_POINTS,
    WINDOW_RESOLUTIONS,
    EnergyTask,
    choose_tasks,
    evenly,
    measure_energy,
)
from tests.hardware.fakes import Clock

IDLE_WATTS, STEP_WATTS = 50.0, 200.0


@dataclass
class Counter:
    """IDLE_WATTS always, and what steps add."""

    clock: Callable[[], float]
    resolution_seconds: float = 0.1
    longest_seconds: float = float("inf")
    name: str = "a counter"
    idle_watts: float = IDLE_WATTS
    added: float = 0.0

    def read(self) -> float:
        return self.idle_watts * self.clock() + self.added


@dataclass
class Steps:
    """Steps of 0.03 s at STEP_WATTS beyond idle, and work that leads up to them outside."""

    clock: Clock
    counter: Counter
    asked: float = 0.0

    def spend(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.counter.added += STEP_WATTS * seconds

    def repeat(self, seconds: float, window) -> int:
        self.asked = seconds
        self.spend(7.0)
        count = round(seconds / 0.03) + 1
        with window:
            for _ in range(count):
                self.spend(0.03)
        self.spend(5.0)
        return count


def measured(resolution: float = 0.1, idle_watts: float = IDLE_WATTS):
    clock = Clock()
    counter = Counter(clock, resolution, idle_watts=idle_watts)
    steps = Steps(clock, counter)
    task = EnergyTask("decode", {"model": "m", "num_prompts": 1}, steps.repeat)
    told: list[str] = []
    found = measure_energy(
        (counter, None), [task], lambda _, what: told.append(what), clock=clock, sleep=clock.sleep
    )
    return found, steps, told


def test_a_points_joules_are_those_of_one_of_its_steps():
    found, _, told = measured()
    assert (found["counter"], found["reason"]) == ("a counter", None)
    assert found["idle_watts"] == pytest.approx(IDLE_WATTS)
    [point] = found["points"]
    assert point["kind"] == "decode"
    assert point["shape"] == {"model": "m", "num_prompts": 1}
    assert point["seconds"] == pytest.approx(0.03)
    assert point["joules"] == pytest.approx((IDLE_WATTS + STEP_WATTS) * 0.03)
    assert point["net_joules"] == pytest.approx(STEP_WATTS * 0.03)
    assert 0 < point["error_joules"] < 0.2 * point["joules"]
    assert len(told) == 2


@pytest.mark.parametrize(("resolution", "least"), [(0.001, 1.0), (0.1, 0.1 * WINDOW_RESOLUTIONS)])
def test_a_window_is_long_beside_the_counters_resolution(resolution: float, least: float):
    found, steps, _ = measured(resolution)
    assert steps.asked == least
    assert found["points"][0]["repeats"] * found["points"][0]["seconds"] >= least


def test_without_a_counter_there_is_the_reason():
    found = measure_energy((None, "no permission"), [], lambda *_: None)
    assert found == {"counter": None, "reason": "no permission", "points": []}


def test_a_counter_that_stands_still_is_none():
    found, _, _ = measured(idle_watts=0.0)
    assert found["counter"] is None
    assert "it stands still" in found["reason"]
    assert found["points"] == []
    assert IDLE_SECONDS >= 2


def tasks(kind: str, prompts: list[int]) -> list[EnergyTask]:
    return [
        EnergyTask(kind, {"number": i, "num_prompts": n}, lambda *_: 1)
        for i, n in enumerate(prompts)
    ]


def test_the_choice_is_by_rule():
    planned = [*tasks("decode", [1, 4] * 50), *tasks("prefill", [1] * 30)]
    chosen = choose_tasks(planned)
    decode = [t.shape["number"] for t in chosen if t.kind == "decode"]
    prefill = [t.shape["number"] for t in chosen if t.kind == "prefill"]
    assert decode == [10, 30, 50, 70, 90]
    assert prefill == [5, 15, 25]
    assert (len(decode), len(prefill)) == (DECODE_POINTS, PREFILL_POINTS)
    assert choose_tasks(planned) == chosen


@pytest.mark.parametrize("length", range(12))
def test_evenly_repeats_nothing_and_keeps_the_order(length: int):
    chosen = evenly(range(length), 5)
    assert len(chosen) == len(set(chosen)) == min(5, length)
    assert chosen == sorted(chosen)
