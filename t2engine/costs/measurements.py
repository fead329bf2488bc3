"""What a calibration measured: plain data, before anything is fitted to it.

    {"kind": "decode", "shape": {"model": ..., "precision": "float32/float32", "num_samples": 16,
     "num_prompts": 1, "prefix_len": 512, "suffix_len": 32}, "seconds": [...], "held_out": false}

Units:  seconds of one step or call, one number for each round that had it.
Raises: ValueError naming the measurement, what was expected and what was there.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from t2engine.costs.steps import Array, DecodeStep, PrefillStep, Step, StepTable, tabulate
from t2engine.schema import ModelConfig, Precision

# How much a whole machine differs between two calibrations, standard deviations of ln seconds.
# Seven of one virtual machine within two hours lay 0.17 around their mean, so 0.24 from one to
# another: who else is on its host cannot be seen. For other machines it is a guess.
DAY_SPREAD_VIRTUAL, DAY_SPREAD = 0.24, 0.07
MEDIAN_ERROR = 1.2533  # of a median of n normal values, in standard deviations over sqrt(n)


@dataclass(frozen=True)
class Measurement:
    """One thing that was timed, round after round."""

    kind: str  # "decode", "prefill", "training", or a probe's
    shape: Mapping[str, Any]
    seconds: tuple[float, ...]
    held_out: bool = False  # from the fit, by the design's rule
    flops: int = 0  # of a probe, by the operation's own count
    bytes: int = 0

    def __post_init__(self) -> None:
        for value in self.seconds:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ValueError(f"seconds must be above 0, got {value!r}")
        if not self.seconds:
            raise ValueError("seconds must have at least one number, got none")

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Standard deviation of ln seconds between rounds; 0 for one."""
        return float(np.std(np.log(self.seconds), ddof=1)) if len(self.seconds) > 1 else 0.0

    @property
    def error(self) -> float:
        """Standard error of the median, in ln seconds."""
        return MEDIAN_ERROR * self.spread / math.sqrt(len(self.seconds))

    @property
    def step(self) -> Step:
        if self.kind == "prefill":
            return PrefillStep(self.shape["prompt_len"])
        names = ("num_samples", "num_prompts", "prefix_len", "suffix_len")
        return DecodeStep(**{name: self.shape[name] for name in names})


@dataclass(frozen=True)
class Measurements:
    """A calibration's raw data and the conditions it was made under."""

    machine: Mapping[str, Any]
    conditions: Mapping[str, Any]
    models: Mapping[str, ModelConfig]
    points: tuple[Measurement, ...]
    chunk_tokens: int  # of a prompt, that go through the layers at once
    energy: Mapping[str, Any] = field(default_factory=dict)
    row_buckets: tuple[int, ...] = ()  # that decode steps are padded to; none where they are not

    def of_kind(self, *kinds: str) -> list[Measurement]:
        return [point for point in self.points if point.kind in kinds]

    def precisions(self) -> list[str]:
        """Those that steps were timed at, as weights/cache, in the order they came."""
        names = (p.shape["precision"] for p in self.of_kind("decode", "prefill"))
        return list(dict.fromkeys(names))

    @property
    def day_spread(self) -> float:
        return DAY_SPREAD_VIRTUAL if self.conditions.get("virtual") else DAY_SPREAD

    def tabulate(
        self, models: Sequence[tuple[ModelConfig, Precision]], steps: Sequence[Step]
    ) -> StepTable:
        """Steps as this machine runs them."""
        return tabulate(models, steps, self.chunk_tokens, self.row_buckets)

    def model_of(self, point: Measurement) -> tuple[ModelConfig, Precision]:
        return self.models[point.shape["model"]], parse_precision(point.shape["precision"])


def parse_precision(text: str) -> Precision:
    """weights/cache, such as bfloat16/float32; the weights alone mean a float32 cache.

    Raises: ValueError for a type that there is not.
    """
    weights, _, cache = text.partition("/")
    precision = Precision(weights, cache or "float32")
    for name, choices in (
        ("weights", ("float32", "bfloat16", "float16", "int8")),
        ("cache", ("float32", "bfloat16", "float16", "int8")),
    ):
        value = getattr(precision, name)
        if value not in choices:
            raise ValueError(
                f"a precision must be weights/cache, {name} one of {', '.join(choices)}, "
                f"got {text!r}"
            )
    return precision


def show_precision(precision: Precision) -> str:
    return f"{precision.weights}/{precision.cache}"


def medians(points: Iterable[Measurement]) -> Array:
    return np.array([point.median for point in points])


def round_drift(points: Iterable[Measurement]) -> float:
    """How much all points were slow or fast together from round to round: the standard deviation
    of the rounds' medians of ln(seconds / the point's median)."""
    by_round: dict[int, list[float]] = {}
    for point in points:
        for number, seconds in enumerate(point.seconds):
            by_round.setdefault(number, []).append(math.log(seconds / point.median))
    rounds = [statistics.median(values) for values in by_round.values() if len(values) > 1]
    return statistics.stdev(rounds) if len(rounds) > 1 else 0.0
