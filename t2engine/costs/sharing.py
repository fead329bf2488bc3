"""What reading a prompt once for all its samples gains, measured and predicted.

    gain = seconds of a step whose samples have a prompt each / of one whose samples share it

A pair is two measured decode steps that differ in that alone. Below 1, sharing loses.

Units:  seconds of one decode step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from t2engine.costs.measurements import Measurement
from t2engine.costs.profile import HardwareProfile
from t2engine.costs.step_time import step_seconds


@dataclass(frozen=True)
class SharingPair:
    model: str
    precision: str
    num_samples: int
    prefix_len: int
    suffix_len: int
    shared: float  # measured
    unshared: float
    predicted_shared: float
    predicted_unshared: float
    error: float  # standard error of ln gain, from the repeats
    is_held_out: bool  # one of the two steps at least

    @property
    def gain(self) -> float:
        return self.unshared / self.shared

    @property
    def predicted_gain(self) -> float:
        return self.predicted_unshared / self.predicted_shared


def sharing_pairs(profile: HardwareProfile) -> list[SharingPair]:
    """By model, precision, prompt and samples."""
    pairs = []
    for shape, by_prompts in sorted(measured_by_prompts(profile).items()):
        samples, precision = shape[-1], shape[1]
        if samples > 1 and {1, samples} <= set(by_prompts) and precision in profile.steps:
            pairs.append(pair_of(profile, by_prompts[1], by_prompts[samples]))
    return pairs


def sharing_grid(profile: HardwareProfile) -> list[SharingPair]:
    """The most pairs that have their model, precision and suffix in common."""
    groups: dict[tuple[str, str, int], list[SharingPair]] = {}
    for pair in sharing_pairs(profile):
        groups.setdefault((pair.model, pair.precision, pair.suffix_len), []).append(pair)
    return max(groups.values(), key=len, default=[])


def measured_by_prompts(
    profile: HardwareProfile,
) -> dict[tuple[str, str, int, int, int], dict[int, Measurement]]:
    """For all else that a decode step is made of, its measurements by number of prompts."""
    found: dict[tuple[str, str, int, int, int], dict[int, Measurement]] = {}
    for point in profile.measured.of_kind("decode"):
        shape: Mapping[str, int] = point.shape
        lengths = shape["suffix_len"], shape["prefix_len"], shape["num_samples"]
        key = (point.shape["model"], point.shape["precision"], *lengths)
        found.setdefault(key, {})[shape["num_prompts"]] = point
    return found


def pair_of(profile: HardwareProfile, shared: Measurement, unshared: Measurement) -> SharingPair:
    measured, points = profile.measured, (shared, unshared)
    models, steps = [measured.model_of(p) for p in points], [p.step for p in points]
    rates = profile.steps[shared.shape["precision"]].rates
    predicted = step_seconds(rates, measured.tabulate(models, steps))
    names = ("model", "precision", "num_samples", "prefix_len", "suffix_len")
    return SharingPair(
        **{name: shared.shape[name] for name in names},
        shared=shared.median,
        unshared=unshared.median,
        predicted_shared=float(predicted[0]),
        predicted_unshared=float(predicted[1]),
        error=math.hypot(shared.error, unshared.error),
        is_held_out=any(p.held_out for p in points),
    )
