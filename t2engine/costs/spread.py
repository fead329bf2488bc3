"""How far off a measured price may be, as factors of it, and where it rests on no measurement.

    low, high = price of the seconds' interval / price of the seconds

Errors of one model of time go together, so the ends of a sum are the sums of the ends. Where N lies
between two rungs of the ladder the wider of their intervals is taken.

Units:  factors; intervals of 90 % of the typical seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2engine import metering
from t2engine.costs.ladder import ladder, rungs
from t2engine.costs.predictions import GIBIBYTE, MachineCosts
from t2engine.costs.step_fit import Interval
from t2engine.costs.steps import Array, Step
from t2engine.costs.tariff import Tariff
from t2engine.costs.training_time import tabulate_training
from t2engine.schema import ModelConfig


@dataclass(frozen=True)
class Factors:
    """Of a price, with the quantities in which its steps lie outside those that were timed."""

    low: float
    high: float
    beyond: tuple[str, ...]


def nearest_shapes(N: float, vocab_size: int) -> tuple[ModelConfig, ModelConfig]:
    """The rungs on both sides of N, or the two at the end of the ladder that N lies beyond."""
    steps = ladder(vocab_size)
    lower, upper, _ = rungs(min(max(N, steps[0][0]), steps[-1][0]), vocab_size)
    return lower, upper


def spread_of_steps(
    costs: MachineCosts,
    tariff: Tariff,
    models: Sequence[ModelConfig],
    steps: list[Step],
    times: list[float],
    host_seconds: float,
) -> Factors:
    """Of steps made so many times each, and of seconds that are known."""
    found = []
    for config in models:
        table = costs.profile.measured.tabulate([(config, costs.precision)] * len(steps), steps)
        interval = costs.fit.interval(table)
        counts = np.array(times)
        found.append(factors(tariff, interval, table.flops, table.bytes, counts, host_seconds))
    return widest(found)


def spread_of_training(
    costs: MachineCosts, tariff: Tariff, models: Sequence[ModelConfig], batch: tuple[int, int]
) -> Factors:
    fit = costs.profile.training
    assert fit is not None, "CalibratedCost refuses a profile without"
    found = []
    for config in models:
        table = tabulate_training([config], [batch])
        interval = fit.interval(table)
        found.append(factors(tariff, interval, table.flops, table.bytes, np.ones(1), 0.0))
    return widest(found)


def factors(
    tariff: Tariff, interval: Interval, flops: Array, size: Array, times: Array, host: float
) -> Factors:
    def price(seconds: Array) -> float:
        return float(times @ tariff.price(seconds, flops, size)) + tariff.per_second * host

    middle = price(interval.value)
    beyond = [
        name
        for names, count in zip(interval.beyond, times, strict=True)
        for name in names
        if count > 0
    ]
    return Factors(
        low=price(interval.low) / middle,
        high=price(interval.high) / middle,
        beyond=tuple(dict.fromkeys(beyond)),
    )


def widest(found: Sequence[Factors]) -> Factors:
    beyond = tuple(dict.fromkeys(name for each in found for name in each.beyond))
    return Factors(min(each.low for each in found), max(each.high for each in found), beyond)


def outside_words(
    what: str, costs: MachineCosts, N: float, beyond: tuple[str, ...]
) -> tuple[str, ...]:
    """Sentences on N beside the models that were timed, and on steps unlike those timed."""
    sentences = []
    if beyond:
        names = ", ".join(beyond).replace("_", " ")
        sentences.append(
            f"the price of {what} extrapolates: its steps lie outside those timed on "
            f"{costs.profile.machine} in {names}"
        )
    sizes = [metering.parameter_count(config) for config in costs.profile.measured.models.values()]
    smallest, largest = min(sizes, default=0), max(sizes, default=math.inf)
    if not smallest <= N <= largest:
        factor, side, edge = (
            (N / largest, "above the largest", largest)
            if largest < N
            else (smallest / N, "below the smallest", smallest)
        )
        sentences.append(
            f"N = {N:.3g} is {factor:.3g} times {side} model timed on {costs.profile.machine} "
            f"({edge:.3g}): its prices extrapolate"
        )
    return tuple(sentences)


def memory_words(costs: MachineCosts, config: ModelConfig, step: Step) -> tuple[str, ...]:
    weights, keys = costs.bytes_needed(config, step)
    if weights + keys <= costs.memory_bytes:
        return ()
    return (
        f"serving needs {(weights + keys) / GIBIBYTE:,.3g} GiB at once, and "
        f"{costs.profile.machine} had {costs.memory_bytes / GIBIBYTE:,.3g} GiB free",
    )
