"""Profiles that differ from the planted one in what a report has to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from t2engine.costs.measurements import Measurement
from t2engine.costs.profile import HardwareProfile


def with_points(
    profile: HardwareProfile, change: Callable[[Measurement], Measurement | None]
) -> HardwareProfile:
    """Each point as `change` makes it; None leaves it out."""
    points = tuple(new for p in profile.measured.points if (new := change(p)) is not None)
    return replace(profile, measured=replace(profile.measured, points=points))


def with_conditions(profile: HardwareProfile, **changes: Any) -> HardwareProfile:
    conditions = {**profile.measured.conditions, **changes}
    return replace(profile, measured=replace(profile.measured, conditions=conditions))


def where_sharing_loses(profile: HardwareProfile) -> HardwareProfile:
    """Two samples that share a prompt of 128 tokens take three times as long as planted."""

    def change(point: Measurement) -> Measurement:
        shape = {"num_samples": 2, "num_prompts": 1, "prefix_len": 128, "suffix_len": 16}
        if not all(point.shape.get(name) == value for name, value in shape.items()):
            return point
        return replace(point, seconds=tuple(3 * seconds for seconds in point.seconds))

    return with_points(profile, change)


def without_sharing(profile: HardwareProfile) -> HardwareProfile:
    return with_points(profile, lambda p: None if p.shape.get("num_prompts", 1) > 1 else p)


def noisy(profile: HardwareProfile) -> HardwareProfile:
    """Rounds are slow and fast in turns, by 30 %."""

    def change(point: Measurement) -> Measurement:
        seconds = (s * 1.3 ** (1 - 2 * (i % 2)) for i, s in enumerate(point.seconds))
        return replace(point, seconds=tuple(seconds))

    return with_points(profile, change)
