"""Two profiles side by side: another day, another version, another machine.

    ratio = new seconds / old seconds of every point that both have measured
    held  = the old profile's model on all that the new one has measured, as on held-out points

Points are the same where their kind, shape and model are, whatever the model is called.

Units:  seconds; FLOPs and bytes per second.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2engine.costs.evaluation import (
    ErrorSummary,
    HeldOut,
    step_entries,
    summary,
    training_entries,
)
from t2engine.costs.measurements import Measurement, Measurements
from t2engine.costs.profile import HardwareProfile
from t2engine.costs.roofs import Roofs, roofs_of
from t2engine.costs.step_fit import KINDS

MACHINE = ("cpu", "cores", "gpu", "t2engine", "python")
CONDITIONS = ("device", "threads", "quick")


@dataclass(frozen=True)
class Difference:
    """Something that may be why two profiles differ."""

    name: str
    old: Any
    new: Any


@dataclass(frozen=True)
class RatioSummary:
    """new / old of the points of one kind and precision, or type of weights, that both measured."""

    kind: str
    precision: str  # empty for kinds that have none
    count: int
    median: float
    tenth: float
    ninetieth: float


@dataclass(frozen=True)
class Transfer:
    """The old model on the new measurements of one kind and precision."""

    kind: str
    precision: str
    errors: ErrorSummary
    bias: float  # median of measured / predicted: above 1 all is slower than the old model says
    at_pace: float  # median error of the old model's predictions times that


@dataclass(frozen=True)
class Comparison:
    old: HardwareProfile
    new: HardwareProfile
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    ratios: tuple[RatioSummary, ...]
    steps: RatioSummary | None  # over decode, prefill and training together
    transfers: tuple[Transfer, ...]
    old_roofs: Roofs
    new_roofs: Roofs


def compare(old: HardwareProfile, new: HardwareProfile) -> Comparison:
    differences = tuple(differences_of(old.measured, new.measured))
    pairs = common_points(old.measured, new.measured)
    ratios = [(key, after.median / before.median) for key, (before, after) in pairs.items()]
    groups: dict[tuple[str, str], list[float]] = {}
    for key, ratio in ratios:
        groups.setdefault(group_of(pairs[key][1]), []).append(ratio)
    whole = [ratio for key, ratio in ratios if pairs[key][1].kind in (*KINDS, "training")]
    transfers = tuple(transfers_of(old, new))
    return Comparison(
        old=old,
        new=new,
        differences=differences,
        warnings=tuple(warnings_of(old, new, differences, len(whole), transfers)),
        ratios=tuple(ratio_summary(*group, values) for group, values in groups.items()),
        steps=ratio_summary("all", "", whole) if whole else None,
        transfers=transfers,
        old_roofs=roofs_of(old.measured),
        new_roofs=roofs_of(new.measured),
    )


def differences_of(old: Measurements, new: Measurements) -> list[Difference]:
    return differences(traits(old), traits(new))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference(name, before.get(name), after.get(name))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]


def traits(raw: Measurements) -> dict[str, Any]:
    """All that may make one calibration differ from another, by name."""
    return {
        **machine_traits(raw.machine),
        **(raw.machine.get("packages") or {}),
        **{name: raw.conditions.get(name) for name in CONDITIONS},
        "chunk_tokens": raw.chunk_tokens,
    }


def machine_traits(machine: Mapping[str, Any]) -> dict[str, Any]:
    """machine: as `t2 doctor` describes one."""
    return {
        **{name: machine.get(name) for name in MACHINE},
        "instruction set": (machine.get("extension") or {}).get("chosen_isa"),
    }


def other_machine(profile: HardwareProfile, here: Mapping[str, Any]) -> str | None:
    """How a profile's machine or version differs from this one; None where they are the same."""
    found = differences(machine_traits(profile.measured.machine), machine_traits(here))
    if not found:
        return None
    listed = ", ".join(f"{d.name} {d.old} there, {d.new} here" for d in found)
    return f"the profile is of another machine or version: {listed}"


def warnings_of(
    old: HardwareProfile,
    new: HardwareProfile,
    differences: tuple[Difference, ...],
    num_common: int,
    transfers: tuple[Transfer, ...],
) -> list[str]:
    found = [
        f"{d.name} differs: {d.old} before, {d.new} now; ratios are of more than time passed"
        for d in differences
        if d.name != "quick"
    ]
    for name, profile in (("old", old), ("new", new)):
        busy = profile.measured.conditions.get("busy_rounds", 0)
        if busy:
            found.append(f"other programs kept the machine busy in {busy} rounds of the {name} one")
    if num_common == 0:
        found.append("no step was measured in both: only the model and the peaks can be compared")
    if not transfers:
        found.append("the old profile has no model for any precision that the new one measured")
    return found


# ---- the same points ---------------------------------------------------------------------------


def common_points(
    old: Measurements, new: Measurements
) -> dict[Hashable, tuple[Measurement, Measurement]]:
    before = {identity(old, point): point for point in old.points}
    after = {identity(new, point): point for point in new.points}
    return {key: (before[key], point) for key, point in after.items() if key in before}


def identity(raw: Measurements, point: Measurement) -> Hashable:
    config = raw.models[point.shape["model"]] if "model" in point.shape else None
    rest = frozenset((name, value) for name, value in point.shape.items() if name != "model")
    return point.kind, config, rest


def group_of(point: Measurement) -> tuple[str, str]:
    return point.kind, str(point.shape.get("precision", point.shape.get("dtype", "")))


def ratio_summary(kind: str, precision: str, ratios: list[float]) -> RatioSummary:
    tenth, median, ninetieth = np.quantile(ratios, [0.1, 0.5, 0.9]).tolist()
    return RatioSummary(kind, precision, len(ratios), median, tenth, ninetieth)


# ---- the old model on the new measurements -----------------------------------------------------


def transfers_of(old: HardwareProfile, new: HardwareProfile) -> list[Transfer]:
    raw, found = new.measured, []
    for precision, fit in old.steps.items():
        for kind in KINDS:
            points = [p for p in raw.of_kind(kind) if p.shape["precision"] == precision]
            found.append((kind, precision, step_entries(raw, fit, precision, points)))
    if old.training is not None:
        entries = training_entries(raw, old.training, raw.of_kind("training"))
        found.append(("training", "", entries))
    return [transfer(*parts) for parts in found if parts[2]]


def transfer(kind: str, precision: str, entries: list[HeldOut]) -> Transfer:
    off = np.array([entry.measured / entry.predicted for entry in entries])
    bias = float(np.median(off))
    at_pace = float(np.median(np.abs(bias / off - 1)))
    errors = summary(f"{kind} {precision}".strip(), entries)
    return Transfer(kind, precision, errors, bias, at_pace)
