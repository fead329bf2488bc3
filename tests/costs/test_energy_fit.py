"""Joules from planted watts, joules a FLOP and joules a byte, and whether they are found again."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from t2engine.costs.energy_fit import FLOOR, EnergyFit, fit_energy, solve
from t2engine.costs.ladder import ladder_shape
from t2engine.costs.measurements import Measurements
from t2engine.costs.steps import DecodeStep, PrefillStep, Step, tabulate
from t2engine.schema import FLOAT32

WATTS, PER_FLOP, PER_BYTE = 35.0, 4e-11, 3e-10
CONFIG = ladder_shape(256)
STEPS: tuple[Step, ...] = (
    DecodeStep(1, 1, 100, 10),
    DecodeStep(64, 1, 1000, 30),
    DecodeStep(64, 64, 1000, 30),
    DecodeStep(8, 2, 4000, 5),
    PrefillStep(64),
    PrefillStep(2048),
)
SECONDS = (1e-3, 7e-3, 2e-2, 9e-3, 4e-3, 1e-1)


def measured(
    steps: tuple[Step, ...] = STEPS, noise: float = 0.0, per_byte: float = PER_BYTE
) -> Measurements:
    table = tabulate([(CONFIG, FLOAT32)] * len(steps), steps, 256)
    random = np.random.default_rng(0)
    points = []
    for i, step in enumerate(steps):
        joules = WATTS * SECONDS[i] + PER_FLOP * table.flops[i] + per_byte * table.bytes[i]
        points.append(
            {
                "kind": "prefill" if isinstance(step, PrefillStep) else "decode",
                "shape": {"model": "m", "precision": "float32/float32", **asdict(step)},
                "seconds": SECONDS[i],
                "joules": joules * (1 + noise * random.standard_normal()),
                "net_joules": joules - 10 * SECONDS[i],
                "error_joules": 0.01 * joules,
                "repeats": 100,
            }
        )
    return Measurements({}, {}, {"m": CONFIG}, (), 256, energy={"points": points})


def test_planted_numbers_are_found():
    fit = fit_energy(measured())
    assert fit is not None
    found = (fit.watts_static, fit.joules_per_flop, fit.joules_per_byte)
    assert found == pytest.approx((WATTS, PER_FLOP, PER_BYTE), rel=1e-6)
    assert fit.worst_error < 1e-6
    assert fit.num_points == len(STEPS)


def test_joules_are_those_of_the_formula():
    fit = EnergyFit(2.0, 3.0, 5.0, 0.0, 0.0, 4)
    assert fit.joules(seconds=7, flops=11, bytes=13) == 2 * 7 + 3 * 11 + 5 * 13


def test_what_takes_nothing_is_nothing_and_never_below():
    fit = fit_energy(measured(noise=0.05, per_byte=0.0))
    assert fit is not None
    assert min(fit.watts_static, fit.joules_per_flop, fit.joules_per_byte) >= 0
    assert fit.watts_static == pytest.approx(WATTS, rel=0.3)


def test_noise_shows_in_the_error_of_what_was_left_out():
    quiet, loud = fit_energy(measured(noise=0.01)), fit_energy(measured(noise=0.2))
    assert quiet is not None
    assert loud is not None
    assert 0 < quiet.relative_error < loud.relative_error
    assert loud.relative_error <= loud.worst_error


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_points_are_no_fit(count: int):
    assert fit_energy(measured(STEPS[:count])) is None


def test_no_counter_is_no_fit():
    raw = Measurements({}, {}, {}, (), 256, energy={"counter": None, "reason": "x", "points": []})
    assert fit_energy(raw) is None
    assert fit_energy(Measurements({}, {}, {}, (), 256)) is None


def test_a_point_that_is_no_step_is_refused():
    raw = measured()
    raw.energy["points"][1]["kind"] = "copy"
    with pytest.raises(ValueError, match="must be a decode or a prefill, got 'copy'"):
        fit_energy(raw)


def test_it_is_the_bounded_least_squares_of_scipys_other_solver():
    random = np.random.default_rng(1)
    work = random.uniform(0.1, 1, (9, 3)) * [1, 1e12, 1e9]
    joules = work @ [30, -1e-12, 2e-9] * random.uniform(0.8, 1.2, 9)
    spreads = FLOOR * joules
    scaled = work / spreads[:, None] * [1, 1e-12, 1e-9]
    want = lsq_linear(scaled, joules / spreads, bounds=(0, np.inf)).x * [1, 1e-12, 1e-9]
    assert solve(work, joules, spreads) == pytest.approx(want, rel=1e-5, abs=1e-14)


def test_the_worse_counted_a_point_the_less_it_says():
    raw = measured()
    raw.energy["points"][3]["joules"] *= 1.5
    first = fit_energy(raw)
    raw.energy["points"][3]["error_joules"] = 100.0
    second = fit_energy(raw)
    assert first is not None
    assert second is not None
    assert abs(first.joules_per_byte / PER_BYTE - 1) > 1e-2
    assert second.joules_per_byte == pytest.approx(PER_BYTE, rel=1e-3)
