"""From the joules that a calibration counted to what a second, a FLOP and a byte take.

    joules of a step = watts_static seconds + joules_per_flop FLOPs + joules_per_byte bytes

FLOPs and bytes are steps.py's, joules those of all that the counter counts, the idle machine's
among them. No number is below 0: the points' squared errors are least under that condition, each
divided by the error its counter carries, or FLOOR of its joules beside it.

Units:  joules, watts.
Raises: ValueError for a point that is not a step.
Source: Lawson and Hanson, Solving least squares problems, 1974, chapter 23 (NNLS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2engine.costs.measurements import Measurement, Measurements
from t2engine.costs.step_fit import KINDS, step_table
from t2engine.costs.steps import Array

FEWEST = 4
FLOOR = 0.02  # of a point's joules: three numbers for a whole machine are no nearer than this


@dataclass(frozen=True)
class EnergyFit:
    """The model of a step's joules. relative_error is the median of |predicted / counted - 1| of
    points left out of the fit one by one, worst_error the largest."""

    watts_static: float
    joules_per_flop: float
    joules_per_byte: float
    relative_error: float
    worst_error: float
    num_points: int

    def joules(self, seconds: float, flops: float, bytes: float) -> float:
        moved = self.joules_per_flop * flops + self.joules_per_byte * bytes
        return self.watts_static * seconds + moved


def fit_energy(raw: Measurements) -> EnergyFit | None:
    """None with fewer than four points."""
    points = raw.energy.get("points", [])
    if len(points) < FEWEST:
        return None
    table = step_table(raw, [step_of(point) for point in points])
    seconds, joules, errors = (
        np.array([float(point[name]) for point in points])
        for name in ("seconds", "joules", "error_joules")
    )
    work = np.stack([seconds, table.flops, table.bytes], axis=1)  # [points, 3]
    spreads = np.hypot(errors, FLOOR * joules)
    watts, per_flop, per_byte = solve(work, joules, spreads).tolist()
    off = []
    for left_out in range(len(points)):
        rest = np.arange(len(points)) != left_out
        predicted = work[left_out] @ solve(work[rest], joules[rest], spreads[rest])
        off.append(abs(predicted / joules[left_out] - 1))
    return EnergyFit(
        watts_static=watts,
        joules_per_flop=per_flop,
        joules_per_byte=per_byte,
        relative_error=float(np.median(off)),
        worst_error=float(max(off)),
        num_points=len(points),
    )


def step_of(point: Mapping[str, Any]) -> Measurement:
    if point["kind"] not in KINDS:
        raise ValueError(f"an energy point must be a {' or a '.join(KINDS)}, got {point['kind']!r}")
    return Measurement(point["kind"], point["shape"], (float(point["seconds"]),))


def solve(work: Array, joules: Array, spreads: Array) -> Array:
    """Joules of a unit of each column of `work`."""
    from scipy.optimize import nnls  # reading a profile does without scipy

    size = np.linalg.norm(work / spreads[:, None], axis=0)  # so that columns are alike
    numbers, _ = nnls(work / spreads[:, None] / size, joules / spreads)
    return np.asarray(numbers / size)
