"""What a calibration found, in numbers and sentences that the terminal and the page both show."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from t2engine.costs.evaluation import ErrorSummary, summarise, summary
from t2engine.costs.measurements import round_drift
from t2engine.costs.profile import HardwareProfile
from t2engine.costs.roofs import Roofs, roofs_of
from t2engine.costs.sharing import SharingPair, sharing_grid, sharing_pairs
from t2engine.reports.units import show_percent, show_rate, show_seconds, show_times

KINDS = {"decode": "decode step", "prefill": "prefill", "training": "training step"}
NOISY = 0.1  # spread of repeats above which a machine is called noisy
FAR_FROM_CONFIDENCE = 0.8  # of points inside intervals of 90 %, below which it is said
CERTAIN = 2.0  # standard errors


@dataclass(frozen=True)
class Findings:
    profile: HardwareProfile
    errors: tuple[ErrorSummary, ...]  # of each kind
    details: tuple[ErrorSummary, ...]  # of each kind's precisions, and of models never fitted
    roofs: Roofs
    grid: tuple[SharingPair, ...]
    pairs: tuple[SharingPair, ...]
    sample_seconds: float | None
    warnings: tuple[str, ...]

    @property
    def losses(self) -> list[SharingPair]:
        """Shapes where sharing was measured to lose, the worst first."""
        return sorted((p for p in self.pairs if p.gain < 1), key=lambda p: p.gain)

    @property
    def unclear(self) -> list[SharingPair]:
        """Shapes whose gain is less than the repeats can tell from none."""
        return [p for p in self.pairs if p.gain >= 1 and is_unclear(p)]


def is_unclear(pair: SharingPair) -> bool:
    return abs(pair.gain - 1) < CERTAIN * pair.error


def find(profile: HardwareProfile) -> Findings:
    samples = [point.median for point in profile.measured.of_kind("sample")]
    errors = tuple(summarise(profile.held_out))
    return Findings(
        profile=profile,
        errors=errors,
        details=tuple(details_of(profile)),
        roofs=roofs_of(profile.measured),
        grid=tuple(sharing_grid(profile)),
        pairs=tuple(sharing_pairs(profile)),
        sample_seconds=min(samples, default=None),
        warnings=tuple(warnings_of(profile, errors)),
    )


def details_of(profile: HardwareProfile) -> Iterable[ErrorSummary]:
    for kind in dict.fromkeys(entry.kind for entry in profile.held_out):
        entries = [entry for entry in profile.held_out if entry.kind == kind]
        names = list(dict.fromkeys(entry.shape.get("precision", "") for entry in entries))
        for name in names if len(names) > 1 else []:
            yield summary(
                f"{kind} {name}", [e for e in entries if e.shape.get("precision") == name]
            )
        unseen = [entry for entry in entries if entry.shape["model"] in unseen_models(profile)]
        if 0 < len(unseen) < len(entries):
            yield summary(f"{kind}, unseen models", unseen)


def unseen_models(profile: HardwareProfile) -> set[str]:
    """Models of which no fit has seen a step of any kind."""
    points = profile.measured.of_kind(*KINDS)
    held_out = {point.shape["model"] for point in points if point.held_out}
    return held_out - {point.shape["model"] for point in points if not point.held_out}


def warnings_of(profile: HardwareProfile, errors: tuple[ErrorSummary, ...]) -> Iterable[str]:
    measured, conditions = profile.measured, profile.measured.conditions
    busy = conditions.get("busy_rounds", 0)
    if busy:
        yield (
            f"other programs kept the machine busy in {busy} of {conditions['rounds']} rounds; "
            "calibrate again on a quiet machine"
        )
    points = [point for point in measured.of_kind(*KINDS) if len(point.seconds) > 1]
    spread = statistics.median(point.spread for point in points) if points else 0.0
    if spread > NOISY:
        drift = round_drift(points)
        yield (
            f"noisy: repeats of a step differ by {show_percent(spread)} (median standard deviation)"
            f"; all steps together were {show_percent(drift)} slow or fast from round to round"
        )
    left_out = conditions.get("shapes_left_out") or []
    if left_out:
        names = ", ".join(f"{hidden} x vocabulary {vocab}" for hidden, vocab in left_out)
        yield f"model shapes left out for want of memory: hidden size {names}"
    for name, fit in profile.steps.items():
        if not fit.converged:
            yield f"the fit of {name} did not converge"
    if profile.training is not None and not profile.training.converged:
        yield "the fit of training steps did not converge"
    for row in errors:
        if row.covered < FAR_FROM_CONFIDENCE:
            yield (
                f"{row.name}: only {show_percent(row.covered)} of {row.count} held-out points lie "
                "inside their intervals of 90 %; take the intervals as too narrow"
            )
    if not conditions.get("monotonic", True):
        yield "the clock that measured is not monotonic"


# ---- sentences ---------------------------------------------------------------------------------


def sentences(found: Findings) -> list[str]:
    """Three or four that say what was found."""
    told = [error_sentence(row) for row in found.errors[:1]]
    others = [
        f"a {KINDS[row.name]} within {show_percent(row.median)}, "
        f"{show_percent(row.ninetieth)} for nine in ten"
        for row in found.errors[1:]
    ]
    if others:
        told.append(capitalised(f"{'; '.join(others)}."))
    if found.errors:
        told.append(honesty_sentence(found))
    if found.grid:
        told.append(sharing_sentence(found))
    return told


def error_sentence(row: ErrorSummary) -> str:
    return (
        f"A {KINDS[row.name]} that no fit has seen is predicted within {show_percent(row.median)} "
        f"(median of {row.count}), {show_percent(row.ninetieth)} for nine in ten; 2N FLOPs over "
        f"the peak is off by {show_percent(row.two_n)}, a roofline by {show_percent(row.roofline)}."
    )


def honesty_sentence(found: Findings) -> str:
    entries = found.profile.held_out
    covered = sum(entry.is_covered for entry in entries) / len(entries)
    worst = max(entry.error for entry in entries)
    return (
        f"{show_percent(covered)} of all {len(entries)} held-out points lie inside their intervals "
        f"of 90 %; the worst prediction is off by {show_percent(worst)}."
    )


def sharing_sentence(found: Findings) -> str:
    best = max(found.grid, key=lambda pair: pair.gain)
    losses = len(found.losses)
    loses = f"loses at {losses}" if losses else "loses at none"
    return (
        f"Sharing a prompt of {best.prefix_len:,} tokens among {best.num_samples} samples makes a "
        f"decode step {show_times(best.gain)} as fast, and {loses} of the {len(found.pairs)} "
        "shapes measured both ways."
    )


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def roof_rows(roofs: Roofs) -> list[tuple[str, str]]:
    rows = [
        (f"product, {dtype} weights", show_rate(rate, "FLOP/s"))
        for dtype, rate in roofs.products.items()
    ]
    rows.append(("reading memory", show_rate(roofs.memory, "B/s")))
    rows.append(("reading caches", show_rate(roofs.cache, "B/s")))
    if roofs.copy is not None:
        rows.append(("copying, read and written", show_rate(roofs.copy, "B/s")))
    return rows


def energy_sentence(profile: HardwareProfile) -> str:
    """How energy was measured, or why not."""
    energy = profile.measured.energy
    counter, reason = energy.get("counter"), energy.get("reason")
    points = energy.get("points") or []
    if counter and points:
        return f"Energy was measured by {counter}, at {len(points)} points."
    why = reason or "the profile says nothing of an energy counter"
    return f"Energy: null. It was not measured: {why}."


def pair_text(pair: SharingPair) -> str:
    return (
        f"{pair.num_samples} samples of a prompt of {pair.prefix_len:,} tokens, {pair.suffix_len} "
        f"of their own, {pair.model}, {pair.precision}: {show_times(pair.gain)} as fast "
        f"({show_seconds(pair.shared)} shared, {show_seconds(pair.unshared)} not)"
    )
