"""From the steps a calibration timed to rates, with what they say of shapes that were not timed.

    interval = predicted exp(+- half width)

The half widths are fitting.py's. Outside what was measured they grow by EXTRAPOLATION for each unit
of ln beyond it, in each of the quantities of RANGED.

Units:  seconds; half widths in ln.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

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
from t2engine.costs.step_time import StepRates, step_seconds
from t2engine.costs.steps import Array, StepTable

KINDS = ("decode", "prefill")
EXTRAPOLATION = 0.25
RANGED = {
    "hidden_size": "in_features",
    "num_layers": "num_layers",
    "rows": "num_rows",
    "flops": "flops",
    "bytes": "bytes",
}


@dataclass(frozen=True)
class Interval:
    """Predictions [S] with intervals of 90 %: of the typical seconds, and of one run's."""

    value: Array
    low: Array
    high: Array
    run_low: Array
    run_high: Array
    beyond: tuple[tuple[str, ...], ...]  # the quantities in which a step lies outside what was seen


@dataclass(frozen=True)
class StepFit:
    """The model of time for one precision."""

    rates: StepRates
    start: StepRates  # what the probes alone suggest
    converged: bool
    half_widths: Mapping[str, HalfWidths]  # by kind
    ranges: Mapping[str, tuple[float, float]]
    num_points: int

    def interval(self, table: StepTable) -> Interval:
        kinds = np.where(table.prefill_passes > 0, "prefill", "decode")
        widths = [self.half_widths[kind] for kind in kinds]
        return interval_of(step_seconds(self.rates, table), widths, quantities(table), self.ranges)


def interval_of(
    seconds: Array,
    widths: Sequence[HalfWidths],
    columns: Mapping[str, Array],
    ranges: Mapping[str, tuple[float, float]],
) -> Interval:
    """seconds exp(+- width), wider where a column is outside its range."""
    beyond: list[list[str]] = [[] for _ in seconds]
    more = np.zeros(len(seconds))
    for name, column in columns.items():
        low, high = ranges[name]
        outside = np.maximum(np.log(low / column), np.log(column / high))
        more += EXTRAPOLATION * np.maximum(outside, 0)
        for i in np.flatnonzero(outside > 1e-9):
            beyond[i].append(name)
    typical = np.exp(np.array([width.typical for width in widths]) + more)
    one_run = np.exp(np.array([width.one_run for width in widths]) + more)
    return Interval(
        *(seconds, seconds / typical, seconds * typical, seconds / one_run, seconds * one_run),
        beyond=tuple(map(tuple, beyond)),
    )


def quantities(table: StepTable) -> dict[str, Array]:
    columns = {name: np.asarray(getattr(table, column)) for name, column in RANGED.items()}
    return {name: x[:, 0] if x.ndim == 2 else x for name, x in columns.items()}


def step_table(raw: Measurements, points: Sequence[Measurement]) -> StepTable:
    models, steps = [raw.model_of(p) for p in points], [p.step for p in points]
    return raw.tabulate(models, steps)


def fit_steps(raw: Measurements, precision: str) -> StepFit:
    """Fit to the points of one precision that are not held out.

    Raises: ValueError with fewer than a dozen points.
    """
    points = [
        point
        for point in raw.of_kind(*KINDS)
        if point.shape["precision"] == precision and not point.held_out
    ]
    if len(points) < 12:
        raise ValueError(
            f"a fit needs at least 12 steps of {precision} that are not held out, got {len(points)}"
        )
    table = step_table(raw, points)
    start, probed = first_guess(raw, precision)
    freedom = np.array([PROBED if f.name in probed else GUESSED for f in fields(StepRates)])

    def model_of(index: Indices) -> Predict:
        chosen = table.take(index)
        return lambda log_numbers: step_seconds(StepRates(*np.exp(log_numbers)), chosen)

    shapes = [point.shape["model"] for point in points]
    spreads = np.array([point.error for point in points])
    fit = fit_with_errors(model_of, medians(points), spreads, shapes, start.vector(), freedom)
    visits = [point.seconds for point in points]
    return StepFit(
        rates=StepRates(*fit.vector.tolist()),
        start=start,
        converged=fit.converged,
        half_widths={
            kind: half_widths(
                *(fit, visits, np.array([p.kind == kind for p in points]), raw.day_spread)
            )
            for kind in KINDS
        },
        ranges={name: (float(x.min()), float(x.max())) for name, x in quantities(table).items()},
        num_points=len(points),
    )


def first_guess(raw: Measurements, precision: str) -> tuple[StepRates, frozenset[str]]:
    """Rates from the probes, and the names of those that were probed by themselves."""
    weights = precision.partition("/")[0]
    peak = peak_flops_per_second(raw, weights)
    float_peak = peak_flops_per_second(raw, "float32", weights)
    memory, cache = read_roofs(raw)
    drawing = [p.median / (p.shape["rows"] * p.shape["vocab_size"]) for p in raw.of_kind("draw")]
    start = StepRates(
        product_flops_per_second=peak,
        half_in_features=50.0,
        half_out_features=30.0,
        efficiency_1=0.15,
        efficiency_4=0.4,
        efficiency_16=0.7,
        efficiency_64=0.9,
        efficiency_1024=1.05,
        product_exponent=4.0,
        memory_bytes_per_second=memory,
        cache_bytes_per_second=cache,
        cache_bytes=3e7,
        attention_flops_per_second=0.8 * float_peak,
        half_queries=8.0,
        suffix_flops_per_second=0.3 * float_peak,
        causal_flops_per_second=float_peak,
        pair_seconds=60 / float_peak,  # an exponential, a maximum and a sum
        attention_exponent=3.0,
        pass_seconds=1e-6,
        prefill_seconds=1e-4,
        layer_seconds=1e-6,
        row_seconds=1e-7,
        head_seconds=1e-7,
        segment_seconds=5e-7,
        feature_seconds=400 / float_peak,
        logit_seconds=min(drawing, default=200 / float_peak),
    )
    probed = {"product_flops_per_second", "memory_bytes_per_second", "cache_bytes_per_second"}
    return start, frozenset(probed)


def peak_flops_per_second(raw: Measurements, *dtypes: str) -> float:
    """The fastest product probed with weights of the first of these types that was probed."""
    for dtype in dtypes:
        rates = [p.flops / p.median for p in raw.of_kind("product") if p.shape["dtype"] == dtype]
        if rates:
            return max(rates)
    raise ValueError(f"no product was probed with weights of {' or '.join(dtypes)}")


def read_roofs(raw: Measurements) -> tuple[float, float]:
    """Bytes per second from memory, and from the caches."""
    rates = {point.bytes: point.bytes / point.median for point in raw.of_kind("read")}
    if not rates:
        raise ValueError("no reading was probed")
    return rates[max(rates)], max(rates.values())
