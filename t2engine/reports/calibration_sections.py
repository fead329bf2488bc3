"""The figures of a calibration in order, each under a heading that says what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from t2engine.reports.calibration_cost_figures import (
    MOST_SAMPLES,
    costs_nothing,
    draw_gains,
    draw_one_more,
    draw_sample_cost,
    predicted_steps,
    subject_of,
)
from t2engine.reports.calibration_figures import (
    STEP_KINDS,
    draw_efficiency,
    draw_errors,
    draw_predictions,
    draw_roofline,
    efficiencies,
    intensities,
    step_points,
)
from t2engine.reports.calibration_findings import KINDS, Findings
from t2engine.reports.units import show_percent, show_seconds, show_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes", Findings], None]


@dataclass(frozen=True)
class Panel:
    name: str
    title: str
    draw: Draw
    height: float = 4.2  # inches, of a width of 5.6
    place: int | None = None  # in the picture of all; None: on the page alone


@dataclass(frozen=True)
class Section:
    heading: str
    caption: str
    panels: tuple[Panel, ...]


def sections(found: Findings) -> list[Section]:
    told = []
    if found.profile.held_out:
        told.append(prediction_section(found))
    told.append(cost_section(found))
    if found.grid:
        told.append(sharing_section(found))
    told.append(machine_section(found))
    return told


def prediction_section(found: Findings) -> Section:
    errors = [f"{show_percent(row.median)} ({KINDS[row.name]})" for row in found.errors]
    return Section(
        f"What no fit has seen is predicted within {', '.join(errors)}",
        "Medians of all rounds against predictions. The grey band is the median interval of 90 %; "
        "every point has its own, and points outside theirs are ringed. Behind, in grey, what two "
        "baselines say that know the same machine's peaks.",
        (
            Panel("predictions", "Predicted and measured seconds", draw_predictions, 4.6, 0),
            Panel("errors", "The same, as predicted / measured", draw_errors, 4.6, 1),
        ),
    )


def cost_section(found: Findings) -> Section:
    subject, profile = subject_of(found), found.profile
    length, n = subject.prompts[-1], MOST_SAMPLES
    below = " Where a line ends below, one more is predicted to take no time at all."
    nothing = below if costs_nothing(found) else ""
    shared, unshared = (
        show_seconds(float(predicted_steps(profile, subject, length, [n], way).value[0]) / n)
        for way in (True, False)
    )
    panels = [
        Panel(
            f"cost-{prompt_len}",
            f"A token of one sample, after {prompt_len:,} of prompt",
            partial(draw_sample_cost, prompt_len=prompt_len),
            place={0: 3, len(subject.prompts) - 1: 4}.get(index),
        )
        for index, prompt_len in enumerate(subject.prompts)
    ]
    return Section(
        f"With {n} samples of one prompt of {length:,} tokens, a token of one sample costs "
        f"{shared}; with a prompt each, {unshared} (predicted)",
        f"{subject.model}, {subject.precision}, {subject.suffix_len} tokens of its own a sample: "
        "seconds of a decode step over its samples. Lines are predicted, bands their intervals of "
        "90 %, marks measured. Last, what one more sample adds to a step; what is measured of it "
        f"is the slope between neighbouring numbers of samples.{nothing}",
        (
            *panels,
            Panel("one-more", "What one more sample adds to each step", draw_one_more, place=5),
        ),
    )


def sharing_section(found: Findings) -> Section:
    best, first = max(pair.gain for pair in found.grid), found.grid[0]
    losses = len(found.losses)
    where = f"loses at {losses} of" if losses else "loses at none of"
    measured, predicted = (partial(draw_gains, is_predicted=way) for way in (False, True))
    off = float(np.median([abs(p.predicted_gain / p.gain - 1) for p in found.grid]))
    return Section(
        f"Sharing a prompt makes decode steps up to {show_times(best)} as fast, and {where} "
        f"{len(found.pairs)} shapes measured",
        f"Seconds of a step whose samples have a prompt each, over those of a step whose samples "
        f"share one: {first.model}, {first.precision}. Predicted ratios are off by "
        f"{show_percent(off)} (median). Below 1, sharing loses: such a cell is hatched.",
        (
            Panel("gains-measured", "How many times as fast: measured", measured, 3.4, 6),
            Panel("gains-predicted", "How many times as fast: predicted", predicted, 3.4, 7),
        ),
    )


def machine_section(found: Findings) -> Section:
    precisions: dict[str, str] = {}  # the first of each type of weights
    for name in found.profile.measured.precisions():
        precisions.setdefault(name.partition("/")[0], name)
    first = next(iter(precisions.values()))
    shares = roof_shares(found, first)
    panels = [
        Panel(
            f"roofline-{dtype}",
            f"Steps with weights and cache in {name}",
            partial(draw_roofline, precision=name),
            4.6,
            place=2 if name == first else None,
        )
        for dtype, name in precisions.items()
    ]
    return Section(
        f"Steps in {first} run at {show_percent(shares[1])} of their roof, nine in ten between "
        f"{show_percent(shares[0])} and {show_percent(shares[2])}: a roof bounds seconds, it does "
        "not tell them",
        "Roofs are measured: the fastest product for each type of weights, and reading from memory "
        "and from caches by the products' own kernel. FLOPs and bytes are the meter's. The last "
        "figure is of square products alone, the widest drawn thick: one row reads every weight "
        "for two FLOPs.",
        (*panels, Panel("efficiency", efficiency_title(found), draw_efficiency, 4.6, 8)),
    )


def roof_shares(found: Findings, precision: str) -> list[float]:
    """5th percentile, median and 95th of FLOPs a second over the roof above the point."""
    points = [p for kind in STEP_KINDS for p in step_points(found, precision, kind)]
    intensity, rate = intensities(found, points)
    peak = found.roofs.products[precision.partition("/")[0]]
    roof = np.minimum(peak, intensity * found.roofs.cache)
    quantiles: list[float] = np.quantile(rate / roof, [0.05, 0.5, 0.95]).tolist()
    return quantiles


def efficiency_title(found: Findings) -> str:
    dtype = next(iter(found.roofs.products))
    shares = efficiencies(found, dtype)
    by_rows = shares[max(shares)]
    rows = min(by_rows)
    return f"{rows} row reaches {show_percent(by_rows[rows])} of the fastest {dtype} product"
