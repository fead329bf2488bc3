"""Figures of what one sample costs, and of what sharing its prompt gains.

One model, at one precision: that of the grid of sharing, where it was measured.

Units:  seconds of one token of one sample: a decode step's, over its samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from t2engine.costs.measurements import parse_precision
from t2engine.costs.profile import HardwareProfile
from t2engine.costs.sharing import SharingPair
from t2engine.costs.step_fit import Interval
from t2engine.costs.steps import DecodeStep
from t2engine.reports.calibration_findings import Findings
from t2engine.reports.figure_style import (
    BLUE,
    COLOURS,
    GREY,
    VERMILLION,
    doubling_ticks,
    fine_ticks,
    ink_on,
    logarithmic,
)
from t2engine.reports.units import show_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEFAULT_PROMPTS, DEFAULT_SUFFIX = (128, 1024, 4096), 16
MOST_SAMPLES = 256
CURVE_POINTS = 60
SLOPE: dict[str, Any] = {
    "marker": "_",
    "markersize": 11,
    "markeredgewidth": 2.2,
    "linestyle": "none",
}
MOST_RATIO = 1000  # of the largest addition to the smallest that is shown
NO_GAIN, MIDDLE_GAIN, MOST_GAIN, LOSS = "#f4f9fd", "#8fc3e3", "#00507d", "#f7d9c4"


@dataclass(frozen=True)
class CostSubject:
    """What the curves are of."""

    model: str
    precision: str
    suffix_len: int
    prompts: tuple[int, ...]


def subject_of(found: Findings) -> CostSubject:
    """Three prompt lengths, those that the grid has where there is one."""
    if found.grid:
        first, lengths = found.grid[0], sorted({pair.prefix_len for pair in found.grid})
        chosen = lengths if len(lengths) <= 3 else [lengths[0], lengths[-2], lengths[-1]]
        return CostSubject(first.model, first.precision, first.suffix_len, tuple(chosen))
    point = found.profile.measured.of_kind("decode")[-1]
    shape = point.shape
    return CostSubject(shape["model"], shape["precision"], DEFAULT_SUFFIX, DEFAULT_PROMPTS)


def predicted_steps(
    profile: HardwareProfile, subject: CostSubject, prompt_len: int, samples: Any, is_shared: bool
) -> Interval:
    steps = [
        DecodeStep(float(n), 1.0 if is_shared else float(n), prompt_len, subject.suffix_len)
        for n in samples
    ]
    measured = profile.measured
    model = measured.models[subject.model], parse_precision(subject.precision)
    table = measured.tabulate([model] * len(steps), steps)
    return profile.steps[subject.precision].interval(table)


def measured_steps(
    profile: HardwareProfile, subject: CostSubject, prompt_len: int, is_shared: bool
) -> list[tuple[int, float, bool]]:
    """Samples, seconds of a step, and whether it was held out, by samples."""
    found = []
    for point in profile.measured.of_kind("decode"):
        shape = point.shape
        n = shape["num_samples"]
        wanted = (subject.model, subject.precision, subject.suffix_len, prompt_len)
        names = ("model", "precision", "suffix_len", "prefix_len")
        if tuple(shape[name] for name in names) == wanted and (
            shape["num_prompts"] == (1 if is_shared else n)
        ):
            found.append((n, point.median, point.held_out))
    return sorted(found)


def draw_sample_cost(axes: Axes, found: Findings, prompt_len: int) -> None:
    subject, profile = subject_of(found), found.profile
    logarithmic(axes, y="s")
    samples = np.geomspace(1, MOST_SAMPLES, CURVE_POINTS)
    styles = ((True, BLUE, "-", "o"), (False, VERMILLION, "--", "s"))
    for is_shared, colour, line, marker in styles:
        curve = predicted_steps(profile, subject, prompt_len, samples, is_shared)
        label = "prompt shared" if is_shared else "a prompt each"
        axes.fill_between(
            *(samples, curve.low / samples, curve.high / samples),
            color=colour,
            alpha=0.16,
            linewidth=0,
        )
        axes.plot(samples, curve.value / samples, line, color=colour, linewidth=1.8, label=label)
        for n, seconds, held_out in measured_steps(profile, subject, prompt_len, is_shared):
            axes.plot(
                *(n, seconds / n),
                marker=marker,
                markersize=5.5,
                markerfacecolor=colour if held_out else "white",
                markeredgecolor=colour,
                linestyle="none",
            )
    axes.plot([], [], "o", color=GREY, label="measured, held out")
    axes.plot([], [], "o", color=GREY, markerfacecolor="white", label="measured, fitted")
    doubling_ticks(axes.xaxis, [1, 2, 4, 8, 16, 32, 64, 128, 256])
    fine_ticks(axes.yaxis)
    axes.set_xlabel("samples")
    axes.set_ylabel("seconds of a token of one sample")
    axes.legend(loc="lower left")


def predicted_additions(
    profile: HardwareProfile, subject: CostSubject, prompt_len: int, samples: Any, is_shared: bool
) -> Any:
    """What one sample more than `samples` adds to a step."""
    fewer, more = (
        predicted_steps(profile, subject, prompt_len, n, is_shared).value
        for n in (samples, samples + 1)
    )
    return more - fewer


def draw_one_more(axes: Axes, found: Findings) -> None:
    subject, profile = subject_of(found), found.profile
    logarithmic(axes, y="s")
    samples = np.geomspace(1, MOST_SAMPLES, CURVE_POINTS)
    shown: list[float] = []
    for number, prompt_len in enumerate(subject.prompts):
        for is_shared in (True, False):
            added = predicted_additions(profile, subject, prompt_len, samples, is_shared)
            axes.plot(
                *(samples, np.where(added > 0, added, np.nan)),
                color=COLOURS[number],
                linestyle="-" if is_shared else "--",
                linewidth=1.8 if is_shared else 1.2,
                label=f"prompt of {prompt_len:,}" if is_shared else None,
            )
            shown += added.tolist()
            for place, slope in measured_slopes(profile, subject, prompt_len, is_shared):
                axes.plot(place, slope, color=COLOURS[number], alpha=0.75, **SLOPE)
    axes.plot([], [], "--", color=GREY, linewidth=1.2, label="a prompt each")
    axes.plot([], [], color=GREY, label="measured slope", **SLOPE)
    doubling_ticks(axes.xaxis, [1, 2, 4, 8, 16, 32, 64, 128, 256])
    top = max(shown)
    axes.set_ylim(max(min(shown), top / MOST_RATIO) / 4, top * 1.6)
    axes.set_xlabel("samples there are already")
    axes.set_ylabel("seconds added to a step by one more")
    axes.legend(loc="lower right", ncols=2)


def measured_slopes(
    profile: HardwareProfile, subject: CostSubject, prompt_len: int, is_shared: bool
) -> list[tuple[float, float]]:
    """Between neighbouring numbers of samples, at their geometric mean, where steps take longer."""
    points = measured_steps(profile, subject, prompt_len, is_shared)
    return [
        ((n * m) ** 0.5, (more - seconds) / (m - n))
        for (n, seconds, _), (m, more, _) in pairwise(points)
        if more > seconds
    ]


def costs_nothing(found: Findings) -> bool:
    """Whether the model says, somewhere in the figure, that one more sample takes no time."""
    subject, samples = subject_of(found), np.geomspace(1, MOST_SAMPLES, CURVE_POINTS)
    return any(
        bool(np.any(predicted_additions(found.profile, subject, P, samples, is_shared) <= 0))
        for P in subject.prompts
        for is_shared in (True, False)
    )


# ---- what sharing gains ------------------------------------------------------------------------


def draw_gains(axes: Axes, found: Findings, is_predicted: bool) -> None:
    """A cell for each prompt length and number of samples; a loss is hatched and says so."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex
    from matplotlib.patches import Rectangle

    grid = found.grid
    lengths = sorted({pair.prefix_len for pair in grid})
    samples = sorted({pair.num_samples for pair in grid})
    most = max(max(pair.gain, pair.predicted_gain) for pair in grid)
    colours = LinearSegmentedColormap.from_list("gain", [NO_GAIN, MIDDLE_GAIN, MOST_GAIN])
    for pair in grid:
        gain = gain_of(pair, is_predicted)
        share = max(0.0, float(np.log(gain) / np.log(max(most, 1.01))))
        x, y = samples.index(pair.num_samples), lengths.index(pair.prefix_len)
        is_loss = gain < 1
        face = LOSS if is_loss else to_hex(colours(min(share, 1.0)))
        axes.add_patch(
            Rectangle(
                (x - 0.5, y - 0.5),
                *(1, 1),
                facecolor=face,
                edgecolor=VERMILLION if is_loss else "white",
                hatch="//" if is_loss else None,
                linewidth=1.5,
            )
        )
        text = show_times(gain) + ("\nloses" if is_loss else "")
        axes.text(
            *(x, y, text),
            horizontalalignment="center",
            verticalalignment="center",
            color=ink_on(face),
            fontsize=10,
            fontweight="normal" if is_predicted else "bold",
            bbox={"facecolor": face, "edgecolor": "none", "pad": 1.5},  # above a loss's hatching
        )
    axes.set_xlim(-0.5, len(samples) - 0.5)
    axes.set_ylim(-0.5, len(lengths) - 0.5)
    axes.set_xticks(range(len(samples)), [str(n) for n in samples])
    axes.set_yticks(range(len(lengths)), [f"{length:,}" for length in lengths])
    axes.grid(False)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("samples")
    axes.set_ylabel("tokens of the prompt")


def gain_of(pair: SharingPair, is_predicted: bool) -> float:
    return pair.predicted_gain if is_predicted else pair.gain
