"""Figures of what the machine does at most, and of how near predictions come.

Each draws on axes it is given; what it shows is in Findings. Filled marks are held-out points, open
ones are points that a fit has seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from t2engine.costs.evaluation import HeldOut
from t2engine.costs.measurements import Measurement
from t2engine.reports.calibration_findings import KINDS, Findings
from t2engine.reports.figure_style import (
    BLACK,
    COLOURS,
    FAINT,
    GREY,
    MARKERS,
    doubling_ticks,
    logarithmic,
)
from t2engine.reports.units import show_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEP_KINDS = ("decode", "prefill")


def style_of(kind: str) -> dict[str, Any]:
    number = list(KINDS).index(kind)
    return {"color": COLOURS[number], "marker": MARKERS[number]}


# ---- the roofs ---------------------------------------------------------------------------------


def step_points(found: Findings, precision: str, kind: str) -> list[Measurement]:
    points = found.profile.measured.of_kind(kind)
    return [point for point in points if point.shape["precision"] == precision]


def intensities(found: Findings, points: list[Measurement]) -> tuple[Any, Any]:
    """FLOPs a byte, and FLOPs a second."""
    measured = found.profile.measured
    models, steps = [measured.model_of(p) for p in points], [p.step for p in points]
    table = measured.tabulate(models, steps)
    seconds = np.array([point.median for point in points])
    return table.flops / table.bytes, table.flops / seconds


def draw_roofline(axes: Axes, found: Findings, precision: str) -> None:
    dtype = precision.partition("/")[0]
    roofs, own_peak = found.roofs, found.roofs.products[dtype]
    logarithmic(axes, y="FLOP/s")
    xs: list[float] = []
    ys: list[float] = []
    for kind in STEP_KINDS:
        points = step_points(found, precision, kind)
        if not points:
            continue
        x, y = intensities(found, points)
        xs, ys = [*xs, *x], [*ys, *y]
        held_out = np.array([point.held_out for point in points])
        scatter_both(axes, x, y, held_out, KINDS[kind], style_of(kind))
    low, high = min(xs) / 1.5, max(max(xs), own_peak / roofs.memory) * 6
    axes.set_xlim(low, high)
    axes.set_ylim(min(ys) / 2, max(roofs.products.values()) * 3.5)
    for name, rate in roofs.products.items():
        if rate < own_peak:
            continue
        own = name == dtype
        colour, line, width = (BLACK, "-", 1.8) if own else (GREY, (0, (1, 2)), 0.9)
        axes.hlines(rate, rate / roofs.cache, high, color=colour, linestyle=line, linewidth=width)
        axes.annotate(
            f"{name} {show_rate(rate, 'FLOP/s')}",
            *((high, rate), (-2, 3)),
            textcoords="offset points",
            horizontalalignment="right",
            fontsize=8.5,
            fontweight="bold" if own else "normal",
            color=colour,
        )
    for name, rate, line in (("caches", roofs.cache, "-"), ("memory", roofs.memory, "--")):
        axes.plot(
            *([low, own_peak / rate], [low * rate, own_peak], line),
            color=BLACK,
            linewidth=1.2,
            zorder=1,
            label=f"{name} {show_rate(rate, 'B/s')}",
        )
    axes.set_xlabel("FLOPs per byte moved")
    axes.set_ylabel("FLOPs per second")
    axes.legend(loc="lower right")


def scatter_both(
    axes: Axes, x: Any, y: Any, held_out: Any, label: str, style: dict[str, Any]
) -> None:
    colour, marker = style["color"], style["marker"]
    axes.scatter(
        *(x[~held_out], y[~held_out]),
        s=16,
        marker=marker,
        facecolors="none",
        edgecolors=colour,
        linewidths=0.8,
        alpha=0.8,
        label=f"{label}, fitted",
    )
    axes.scatter(
        *(x[held_out], y[held_out]),
        s=20,
        marker=marker,
        color=colour,
        linewidths=0,
        alpha=0.85,
        label=f"{label}, held out",
    )


# ---- predicted and measured --------------------------------------------------------------------


def column(entries: list[HeldOut], name: str) -> Any:
    return np.array([getattr(entry, name) for entry in entries], float)


def typical_width(entries: tuple[HeldOut, ...]) -> float:
    """The median of the intervals' half widths, as a factor."""
    return float(np.median([entry.high / entry.predicted for entry in entries]))


def draw_predictions(axes: Axes, found: Findings) -> None:
    entries = list(found.profile.held_out)
    logarithmic(axes, "s", "s")
    measured = column(entries, "measured")
    for name, marker, label in (("two_n", "x", "2N over the peak"), ("roofline", ".", "roofline")):
        axes.scatter(
            *(measured, column(entries, name)),
            s=14,
            marker=marker,
            color=GREY if marker == "x" else FAINT,
            linewidths=0.7,
            label=label,
        )
    ends = np.array([measured.min() / 1.5, measured.max() * 1.5])
    width = typical_width(found.profile.held_out)
    axes.fill_between(ends, ends / width, ends * width, color=BLACK, alpha=0.12, linewidth=0)
    axes.plot(ends, ends, color=BLACK, linewidth=0.8)
    for kind in dict.fromkeys(entry.kind for entry in entries):
        chosen = [entry for entry in entries if entry.kind == kind]
        axes.scatter(
            *(column(chosen, "measured"), column(chosen, "predicted")),
            s=16,
            linewidths=0,
            alpha=0.85,
            label=KINDS[kind],
            **style_of(kind),
        )
    axes.set_xlim(*ends)
    axes.set_xlabel("measured")
    axes.set_ylabel("predicted")
    axes.legend(loc="upper left", markerscale=1.3)


def draw_errors(axes: Axes, found: Findings) -> None:
    """predicted / measured, and which points lie outside their own intervals."""
    entries = list(found.profile.held_out)
    logarithmic(axes, "s")
    measured = column(entries, "measured")
    ends = [measured.min() / 1.5, measured.max() * 1.5]
    width = typical_width(found.profile.held_out)
    axes.axhspan(1 / width, width, color=BLACK, alpha=0.1, linewidth=0)
    axes.axhline(1, color=BLACK, linewidth=0.8)
    for kind in dict.fromkeys(entry.kind for entry in entries):
        for covered in (True, False):
            chosen = [e for e in entries if e.kind == kind and e.is_covered == covered]
            axes.scatter(
                *(column(chosen, "measured"), ratio_of(chosen)),
                s=16 if covered else 34,
                linewidths=0 if covered else 1.2,
                edgecolors=BLACK,
                alpha=0.85,
                label=KINDS[kind] if covered else None,
                **style_of(kind),
            )
    axes.scatter([], [], s=34, facecolors="none", edgecolors=BLACK, label="outside its interval")
    most = max(1.35, float(np.max(np.exp(np.abs(np.log(ratio_of(entries)))))) * 1.1)
    axes.set_ylim(1 / most, most**1.4)
    ticks = [t for t in (0.25, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 4) if 1 / most < t < most]
    fixed_ticks(axes, ticks)
    axes.set_xlim(*ends)
    axes.set_xlabel("measured")
    axes.set_ylabel("predicted / measured")
    axes.legend(loc="upper right", ncols=2)


def ratio_of(entries: list[HeldOut]) -> Any:
    return column(entries, "predicted") / column(entries, "measured")


def fixed_ticks(axes: Axes, values: list[float]) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axes.yaxis.set_major_locator(FixedLocator(values))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{value:g}" for value in values]))
    axes.yaxis.set_minor_locator(NullLocator())


# ---- products ----------------------------------------------------------------------------------


def efficiencies(found: Findings, dtype: str) -> dict[int, dict[int, float]]:
    """By width and rows, the share of the type's fastest product."""
    peak = found.roofs.products[dtype]
    shares: dict[int, dict[int, float]] = {}
    for point in found.profile.measured.of_kind("product"):
        if point.shape["dtype"] == dtype:
            rows, width = point.shape["rows"], point.shape["width"]
            shares.setdefault(width, {})[rows] = point.flops / point.median / peak
    return shares


def draw_efficiency(axes: Axes, found: Findings) -> None:
    axes.set_xscale("log")
    all_rows: set[int] = set()
    for number, dtype in enumerate(found.roofs.products):
        shares = efficiencies(found, dtype)
        for width, by_rows in sorted(shares.items()):
            widest = width == max(shares)
            rows = sorted(by_rows)
            all_rows |= set(rows)
            axes.plot(
                *(rows, [100 * by_rows[r] for r in rows]),
                color=COLOURS[number],
                marker=MARKERS[number],
                markersize=5 if widest else 0,
                linewidth=2 if widest else 0.7,
                alpha=1 if widest else 0.6,
                label=f"{dtype}, {width:,} wide" if widest else None,
            )
    axes.plot([], [], color=GREY, linewidth=0.7, label="narrower")
    doubling_ticks(axes.xaxis, sorted(all_rows))
    axes.set_ylim(0, 108)
    axes.yaxis.set_major_formatter("{x:.0f} %")
    axes.set_xlabel("rows of the product")
    axes.set_ylabel("share of that type's fastest product")
    axes.legend(loc="upper left")
