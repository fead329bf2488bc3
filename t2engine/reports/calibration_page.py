"""A calibration as one page of HTML that needs nothing beside itself, and as one picture.

Raises: ValueError where matplotlib is not installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from t2engine.costs.profile import HardwareProfile
from t2engine.files import write_bytes, write_text
from t2engine.reports.calibration_findings import (
    KINDS,
    Findings,
    energy_sentence,
    find,
    pair_text,
    sentences,
)
from t2engine.reports.calibration_sections import Panel, Section, sections
from t2engine.reports.calibration_tables import (
    conditions_table,
    energy_table,
    errors_table,
    held_out_table,
    roofs_table,
)
from t2engine.reports.figure_style import drawing, new_figure, png_of, svg_of
from t2engine.reports.page_style import STYLE
from t2engine.reports.units import show_percent, show_times

PANEL_WIDTH = 5.6  # inches
COLUMNS = 3  # of panels in the picture
HEAD_HEIGHT, PANEL_HEIGHT = 2.3, 4.4


def write_page(profile: HardwareProfile, path: Path) -> None:
    write_text(path, page(profile))


def write_png(profile: HardwareProfile, path: Path) -> None:
    write_bytes(path, picture(profile))


# ---- the page ----------------------------------------------------------------------------------


def page(profile: HardwareProfile) -> str:
    found = find(profile)
    with drawing():
        figures = "\n".join(section_html(found, section) for section in sections(found))
    title = title_of(profile)
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
            f"<header><h1>{escape(title)}</h1>",
            f"<p class=sub>{escape(subtitle(profile))}</p>",
            tiles(found),
            *(f"<p class=lead>{text_html(text)}</p>" for text in sentences(found)),
            warnings_html(found.warnings),
            "</header>",
            figures,
            "<section><h2>Where sharing loses</h2>",
            losses_html(found),
            "</section>",
            energy_html(profile),
            "<section><h2>How far off, kind by kind</h2>",
            errors_table(found),
            f"<p>{ERRORS_NOTE}</p>",
            "</section><section class=two><div><h2>The fastest that was measured</h2>",
            roofs_table(found),
            "</div><div><h2>Conditions</h2>",
            conditions_table(profile),
            "</div></section><section><details><summary>All "
            f"{len(profile.held_out)} held-out points, the worst first</summary>",
            held_out_table(profile.held_out),
            "</details></section></main></body></html>\n",
        )
    )


ERRORS_NOTE = (
    "Errors are |predicted / measured - 1|. Inside: of their intervals of 90 %, medians of all "
    "rounds; one run: single visits inside the wider intervals of one run. Repeats: the median "
    "standard deviation of a point between rounds. 2N: 2 N FLOPs a token (6 N to train) over the "
    "fastest product; roofline: the larger of exact FLOPs over that and exact bytes over the "
    "memory's bandwidth; beside each, how many times better the fit is."
)


def title_of(profile: HardwareProfile) -> str:
    return f"t2engine on {profile.machine}"


def text_html(text: str) -> str:
    """Escaped, with no line break before a percent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def subtitle(profile: HardwareProfile) -> str:
    conditions = profile.measured.conditions
    return (
        f"{len(profile.measured.points)} points in {conditions['rounds']} rounds, "
        f"{conditions['seconds']:.0f} s, begun {conditions['began']}. Held out before anything was "
        f"measured: {len(profile.held_out)} points that no fit has seen."
    )


def tiles(found: Findings) -> str:
    """Large numbers: read first."""
    cells = []
    for row in found.errors[:1]:
        cells += [
            (show_percent(row.median), f"off, the median {KINDS[row.name]} that no fit has seen"),
            (show_percent(row.ninetieth), "off at most for nine in ten"),
            (show_times(row.two_n / row.median), "nearer than 2N FLOPs over the peak"),
            (show_percent(row.covered), f"of {KINDS[row.name]}s inside intervals of 90 %"),
        ]
    if found.grid:
        best = max(found.grid, key=lambda pair: pair.gain)
        told = f"as fast, {best.num_samples} samples sharing {best.prefix_len:,} tokens"
        cells.append((show_times(best.gain), told))
    return (
        "<div class=tiles>"
        + "".join(f"<div><b>{text_html(x)}</b><span>{text_html(y)}</span></div>" for x, y in cells)
        + "</div>"
    )


def warnings_html(warnings: Iterable[str]) -> str:
    items = "".join(f"<li>{text_html(warning)}</li>" for warning in warnings)
    return f"<ul class=warn>{items}</ul>" if items else ""


def section_html(found: Findings, section: Section) -> str:
    figures = "".join(panel_html(found, panel) for panel in section.panels)
    count = min(len(section.panels), 2)
    return (
        f"<section><h2>{text_html(section.heading)}</h2><p>{text_html(section.caption)}</p>"
        f"<div class='figures f{count}'>{figures}</div></section>"
    )


def panel_html(found: Findings, panel: Panel) -> str:
    figure = new_figure(PANEL_WIDTH, panel.height)
    panel.draw(figure.add_subplot(), found)
    svg = svg_of(figure, panel.name)
    label = escape(panel.title, quote=True)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return f"<figure><figcaption>{escape(panel.title)}</figcaption>{svg}</figure>"


def energy_html(profile: HardwareProfile) -> str:
    points = profile.measured.energy.get("points") or []
    table = energy_table(points) if points else ""
    text = escape(energy_sentence(profile))
    return f"<section><h2>Energy</h2><p>{text}</p>{table}</section>"


def losses_html(found: Findings) -> str:
    count = len(found.pairs)
    if not count:
        return "<p>No shape was measured both with its prompt shared and without.</p>"
    if found.losses:
        text = f"At {len(found.losses)} of the {count} shapes measured both ways:"
        lines = found.losses
    else:
        text = f"At none of the {count} shapes measured both ways."
        lines = []
    html = f"<p>{text}</p>" + items_html(pair_text(pair) for pair in lines)
    if found.unclear:
        html += "<p>Too near to none for the repeats to tell (within two standard errors):</p>"
        html += items_html(pair_text(pair) for pair in found.unclear)
    return html


def items_html(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


# ---- the picture -------------------------------------------------------------------------------


def picture(profile: HardwareProfile) -> bytes:
    found = find(profile)
    panels = sorted((p for s in sections(found) for p in s.panels), key=lambda p: p.place or 0)
    panels = [panel for panel in panels if panel.place is not None]
    rows = -(-len(panels) // COLUMNS)
    with drawing():
        figure = new_figure(COLUMNS * PANEL_WIDTH, HEAD_HEIGHT + rows * PANEL_HEIGHT)
        heights = (HEAD_HEIGHT, rows * PANEL_HEIGHT)
        head, body = figure.subfigures(2, 1, squeeze=False, height_ratios=heights).flat
        text = "\n".join((*sentences(found), energy_sentence(profile)))
        head.text(0.01, 0.96, title_of(profile), fontsize=20, fontweight="bold", va="top")
        head.text(0.01, 0.68, text, fontsize=12.5, linespacing=1.5, va="top")
        places = body.subplots(rows, COLUMNS, squeeze=False).flat
        for axes, panel in zip(places, panels, strict=False):
            panel.draw(axes, found)
            axes.set_title(panel.title)
        for axes in places[len(panels) :]:
            axes.axis("off")
        return png_of(figure)
