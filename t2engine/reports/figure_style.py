"""How figures look, and their way into a page or a picture: the only place that loads matplotlib.

    with drawing():
        figure = new_figure(5, 4)
        ...figure.add_subplot()...
        svg = svg_of(figure, "roofline")

No figure goes through pyplot, and matplotlib's settings are as they were when `drawing` ends.

Units:  inches; 72 points an inch.
Raises: ValueError where matplotlib is not installed.
Source: colours by Okabe and Ito, Color Universal Design, 2008.
"""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from t2engine.reports.units import show_rate, show_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GREY, FAINT = "#AA4499", "#56B4E9", "#1a1a1a", "#6b6b6b", "#c9c9c9"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "^", "s", "D", "v", "P")
SETTINGS = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": BLACK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "text.color": BLACK,
    "svg.fonttype": "none",
    "svg.hashsalt": "t2engine",
    "figure.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
}


def why_not_drawn() -> str | None:
    """Why there can be no figures; None where there can."""
    if importlib.util.find_spec("matplotlib") is None:
        return "figures need matplotlib, which is not installed; pip install 't2engine[report]'"
    return None


@contextmanager
def drawing() -> Iterator[None]:
    reason = why_not_drawn()
    if reason is not None:
        raise ValueError(reason)
    from matplotlib import style

    with style.context(SETTINGS, after_reset=True):
        yield


def new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg_of(figure: Figure, name: str) -> str:
    """An svg element to put into a page: it refers to nothing outside itself.

    name: goes before its ids, which a page's figures must not share.
    """
    target = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(target, format="svg", metadata=nothing)
    svg = target.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)  # HTML knows both
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    return re.sub(r"(\d+\.\d{2})\d+", r"\1", svg)


def png_of(figure: Figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=110, metadata={"Software": None})
    return target.getvalue()


def ink_on(colour: str) -> str:
    """Black or white, whichever has more contrast: by the relative luminance of WCAG 2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "white" if luminance < 0.2 else BLACK


# ---- axes --------------------------------------------------------------------------------------


def logarithmic(axes: Axes, x: str = "", y: str = "") -> None:
    """Log axes with units on their ticks. x, y: "s", or a unit of a rate, or "" for a number."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks_of(axes.xaxis, x)
    ticks_of(axes.yaxis, y)


def ticks_of(axis: Axis, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    def show(value: float, _: object) -> str:
        if unit == "s":
            return short(show_seconds(value))
        if unit:
            return short(show_rate(value, unit))
        return f"{value:g}"

    axis.set_major_formatter(FuncFormatter(show))
    axis.set_minor_formatter(NullFormatter())


def fine_ticks(axis: Axis) -> None:
    """Ticks at 1, 2 and 5 of every decade, for axes of few decades."""
    from matplotlib.ticker import LogLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def doubling_ticks(axis: Axis, values: list[int]) -> None:
    """Ticks at these numbers and nowhere else, on a logarithmic axis."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter(FixedFormatter([f"{value:,}" for value in values]))
    axis.set_minor_locator(NullLocator())


def short(text: str) -> str:
    """Without the noughts behind the point that a tick does not need: 1.00 ms is 1 ms."""
    number, _, unit = text.partition(" ")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"{number} {unit}"
