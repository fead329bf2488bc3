"""From the optimiser steps a calibration timed to the rates of training_time.py.

Intervals are made as those of decode steps and prefills are: step_fit.py.

Units:  seconds; half widths in ln.
Raises: ValueError with fewer than six steps that are not held out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from t2engine.costs.fitting import (
    GUESSED,
    PROBED,
    HalfWidths,
    Indices,
    Predict,
    fit_with_errors,
    half_widths,
)
from t2engine.costs.measurements import Measurement, Measurements, medians
from t2engine.costs.step_fit import (
    Interval,
    interval_of,
    peak_flops_per_second,
    read_roofs,
)
from t2engine.costs.training_time import (
    TrainingRates,
    TrainingTable,
    tabulate_training,
    training_seconds,
)

RANGED = ("hidden_size", "num_layers", "tokens", "flops")
FEWEST = 6


@dataclass(frozen=True)
class TrainingFit:
    """The model of an optimiser step's time."""

    rates: TrainingRates
    converged: bool
    half_widths: HalfWidths
    ranges: Mapping[str, tuple[float, float]]
    num_points: int

    def interval(self, table: TrainingTable) -> Interval:
        columns = {name: getattr(table, name) for name in RANGED}
        widths = [self.half_widths] * len(table.flops)
        return interval_of(training_seconds(self.rates, table), widths, columns, self.ranges)


def training_table(raw: Measurements, points: list[Measurement]) -> TrainingTable:
    return tabulate_training(
        [raw.models[point.shape["model"]] for point in points],
        [(point.shape["batch_size"], point.shape["sequence_len"]) for point in points],
    )


def fit_training(raw: Measurements) -> TrainingFit:
    points = [point for point in raw.of_kind("training") if not point.held_out]
    if len(points) < FEWEST:
        raise ValueError(
            f"a fit needs at least {FEWEST} training steps that are not held out, got {len(points)}"
        )
    table = training_table(raw, points)
    peak, (memory, _) = peak_flops_per_second(raw, "float32"), read_roofs(raw)
    start = TrainingRates(
        flops_per_second=peak,
        half_tokens=50.0,
        half_features=100.0,
        bytes_per_second=memory / 2,
        step_seconds=1e-3,
        layer_seconds=1e-3,
        feature_seconds=3000 / peak,
        logit_seconds=1000 / peak,
        score_seconds=1000 / peak,
    )
    names = list(TrainingRates.__dataclass_fields__)
    freedom = np.array([PROBED if name.endswith("per_second") else GUESSED for name in names])

    def model_of(index: Indices) -> Predict:
        chosen = table.take(index)
        return lambda log_numbers: training_seconds(TrainingRates(*np.exp(log_numbers)), chosen)

    shapes = [point.shape["model"] for point in points]
    spreads = np.array([point.error for point in points])
    fit = fit_with_errors(model_of, medians(points), spreads, shapes, start.vector(), freedom)
    columns = {name: getattr(table, name) for name in RANGED}
    return TrainingFit(
        rates=TrainingRates(*fit.vector.tolist()),
        converged=fit.converged,
        half_widths=half_widths(
            *(fit, [p.seconds for p in points], np.full(len(points), True), raw.day_spread)
        ),
        ranges={name: (float(x.min()), float(x.max())) for name, x in columns.items()},
        num_points=len(points),
    )
