"""How far off the cost model is on what it has not seen, beside two baselines.

    2N          2 N FLOPs for each token (6 N to train) over the fastest product measured
    roofline    max(FLOPs / F, bytes / B), F that product's rate and B the reading rate measured

The baselines know the machine's measured peaks and the meter's exact counts; they know nothing of
small products, few rows, or what a step takes beside its products.

Units:  seconds; an error is |predicted / measured - 1|.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from t2engine import metering
from t2engine.costs.measurements import Measurement, Measurements
from t2engine.costs.step_fit import (
    KINDS,
    StepFit,
    peak_flops_per_second,
    read_roofs,
    step_table,
)
from t2engine.costs.steps import Array, DecodeStep
from t2engine.costs.training_fit import TrainingFit, training_table


@dataclass(frozen=True)
class HeldOut:
    """One point that no fit has seen."""

    kind: str
    shape: Mapping[str, Any]
    measured: float  # seconds, the median of the rounds
    spread: float  # of ln seconds between rounds
    predicted: float
    low: float
    high: float
    run_low: float
    run_high: float
    visits_covered: float  # share of the point's single visits inside run_low to run_high
    two_n: float
    roofline: float

    @property
    def error(self) -> float:
        return abs(self.predicted / self.measured - 1)

    @property
    def is_covered(self) -> bool:
        return self.low <= self.measured <= self.high


@dataclass(frozen=True)
class ErrorSummary:
    """Over held-out points of one kind (and precision, where steps)."""

    name: str
    count: int
    median: float
    ninetieth: float
    worst: float
    covered: float  # share of points inside their intervals
    visits_covered: float  # share of single visits inside the intervals of one run
    repeat_spread: float  # median of the points' spreads between rounds
    two_n: float  # median error of the baseline
    roofline: float


def held_out_errors(
    raw: Measurements, steps: Mapping[str, StepFit], training: TrainingFit | None
) -> tuple[HeldOut, ...]:
    entries: list[HeldOut] = []
    for precision, fit in steps.items():
        points = [
            p for p in raw.of_kind(*KINDS) if p.held_out and p.shape["precision"] == precision
        ]
        entries += step_entries(raw, fit, precision, points)
    if training is not None:
        entries += training_entries(
            raw, training, [p for p in raw.of_kind("training") if p.held_out]
        )
    return tuple(entries)


def step_entries(
    raw: Measurements, fit: StepFit, precision: str, points: list[Measurement]
) -> list[HeldOut]:
    if not points:
        return []
    models = [raw.model_of(point) for point in points]
    table = step_table(raw, points)
    predicted = fit.interval(table)
    peak = peak_flops_per_second(raw, precision.partition("/")[0])
    tokens = np.array(
        [
            p.step.num_samples if isinstance(p.step, DecodeStep) else p.step.prompt_len
            for p in points
        ]
    )
    params = np.array([metering.parameter_count(config) for config, _ in models], float)
    roofline = np.maximum(table.flops / peak, table.bytes / read_roofs(raw)[0])
    return entries_of(points, predicted, 2 * params * tokens / peak, roofline)


def training_entries(
    raw: Measurements, fit: TrainingFit, points: list[Measurement]
) -> list[HeldOut]:
    if not points:
        return []
    table = training_table(raw, points)
    peak = peak_flops_per_second(raw, "float32")
    params = np.array([metering.parameter_count(raw.models[p.shape["model"]]) for p in points])
    roofline = np.maximum(table.flops / peak, table.bytes / read_roofs(raw)[0])
    return entries_of(points, fit.interval(table), 6 * params * table.tokens / peak, roofline)


def entries_of(
    points: list[Measurement], predicted: Any, two_n: Array, roofline: Array
) -> list[HeldOut]:
    return [
        HeldOut(
            kind=point.kind,
            shape=dict(point.shape),
            measured=point.median,
            spread=point.spread,
            predicted=float(predicted.value[i]),
            low=float(predicted.low[i]),
            high=float(predicted.high[i]),
            run_low=float(predicted.run_low[i]),
            run_high=float(predicted.run_high[i]),
            visits_covered=share_within(point, predicted.run_low[i], predicted.run_high[i]),
            two_n=float(two_n[i]),
            roofline=float(roofline[i]),
        )
        for i, point in enumerate(points)
    ]


def share_within(point: Measurement, low: float, high: float) -> float:
    return float(np.mean([low <= seconds <= high for seconds in point.seconds]))


def summarise(entries: tuple[HeldOut, ...]) -> list[ErrorSummary]:
    """A line for each kind: decode, prefill, training."""
    kinds = dict.fromkeys(entry.kind for entry in entries)
    return [summary(kind, [e for e in entries if e.kind == kind]) for kind in kinds]


def summary(name: str, entries: list[HeldOut]) -> ErrorSummary:
    errors = np.array([entry.error for entry in entries])

    def baseline(which: str) -> float:
        values = (asdict(entry)[which] / entry.measured for entry in entries)
        return float(np.median([abs(value - 1) for value in values]))

    return ErrorSummary(
        name=name,
        count=len(entries),
        median=float(np.median(errors)),
        ninetieth=float(np.quantile(errors, 0.9)),
        worst=float(errors.max()),
        covered=float(np.mean([entry.is_covered for entry in entries])),
        visits_covered=float(np.mean([entry.visits_covered for entry in entries])),
        repeat_spread=float(np.median([entry.spread for entry in entries])),
        two_n=baseline("two_n"),
        roofline=baseline("roofline"),
    )
