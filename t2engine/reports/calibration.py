"""What `t2 calibrate` found, and what two calibrations differ in, as a person reads it."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from t2engine.costs.comparison import Comparison, RatioSummary
from t2engine.costs.evaluation import ErrorSummary
from t2engine.costs.profile import HardwareProfile
from t2engine.costs.sharing import SharingPair
from t2engine.reports.calibration_findings import (
    Findings,
    energy_sentence,
    find,
    is_unclear,
    pair_text,
    roof_rows,
)
from t2engine.reports.units import show_percent, show_rate, show_seconds, show_times

LITTLE = 1.1  # a gain below which sharing hardly pays
READING = ("memory", "cache", "copy")
SAME = 0.02  # of a ratio from 1 that is called none


def print_profile(profile: HardwareProfile) -> None:
    found = find(profile)
    console = Console(highlight=False)
    console.print(escape(machine_line(profile)))
    console.print(escape(conditions_line(profile)))
    console.print(errors_table(found))
    console.print(roofs_table(found))
    if found.sample_seconds is not None:
        seconds = show_seconds(found.sample_seconds)
        console.print(f"a sample costs {seconds} beside the steps")
    if found.grid:
        console.print(sharing_table(found.grid))
        for line in sharing_lines(found):
            console.print(escape(line))
    console.print(escape(energy_sentence(profile)))
    for warning in found.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}")


def machine_line(profile: HardwareProfile) -> str:
    machine = profile.measured.machine
    isa = (machine.get("extension") or {}).get("chosen_isa")
    uses = f", {isa}" if isa else ""
    return f"{profile.machine} of {machine['cores']} cores{uses}, t2engine {machine['t2engine']}"


def conditions_line(profile: HardwareProfile) -> str:
    measured, conditions = profile.measured, profile.measured.conditions
    others = conditions.get("others_cores") or [0.0]
    return (
        f"{len(measured.points)} points in {conditions['rounds']} rounds, "
        f"{conditions['seconds']:.0f} s, began {conditions['began']}; "
        f"{conditions['busy_rounds']} busy rounds, others used {max(others):.2f} cores at most"
    )


def errors_table(found: Findings) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title="how far off, in %, on points that no fit has seen",
        padding=0,
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    columns = ("points", "median", "90th", "worst", "inside", "repeats", "2N", "roofline")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.errors:
        table.add_row(*error_cells(row, row.name), style="bold")
        for detail in found.details:
            if detail.name.startswith(row.name):
                name = detail.name.removeprefix(row.name).lstrip(", ")
                table.add_row(*error_cells(detail, f" {name}"))
    table.caption = (
        "inside: of their intervals of 90 %; repeats: spread between rounds, median;\n"
        "2N, roofline: median error of these baselines, and how many times better we are"
    )
    return table


def error_cells(row: ErrorSummary, name: str) -> list[str]:
    """Percentages, their sign being in the title."""

    def percent(share: float) -> str:
        return show_percent(share).removesuffix(" %")

    errors = [percent(value) for value in (row.median, row.ninetieth, row.worst)]
    baselines = [
        f"{percent(value)} ({times_better(value, row.median)})"
        for value in (row.two_n, row.roofline)
    ]
    inside, repeats = percent(row.covered), percent(row.repeat_spread)
    return [name, str(row.count), *errors, inside, repeats, *baselines]


def times_better(baseline: float, ours: float) -> str:
    return show_times(baseline / ours) if ours > 0 else "-"


def roofs_table(found: Findings) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="the fastest that was measured")
    table.add_column("")
    table.add_column("rate", justify="right")
    for row in roof_rows(found.roofs):
        table.add_row(*row)
    return table


def sharing_table(grid: tuple[SharingPair, ...]) -> Table:
    first = grid[0]
    table = Table(
        box=box.SIMPLE_HEAD,
        title="how many times faster a decode step is when samples share their prompt\n"
        f"{first.model}, {first.precision}: measured (predicted)",
    )
    table.add_column("prompt", justify="right")
    samples = sorted({pair.num_samples for pair in grid})
    for n in samples:
        table.add_column(f"{n} samples", justify="right")
    for length in sorted({pair.prefix_len for pair in grid}):
        cells = {p.num_samples: gain_cell(p) for p in grid if p.prefix_len == length}
        table.add_row(f"{length:,}", *(cells.get(n, "-") for n in samples))
    return table


def gain_cell(pair: SharingPair) -> str:
    text = f"{show_times(pair.gain)} ({show_times(pair.predicted_gain)})"
    return f"[red]{text} loses[/red]" if pair.gain < 1 else text


def sharing_lines(found: Findings) -> list[str]:
    """Where sharing loses, where it hardly pays, and where more samples stop gaining."""
    losses = found.losses
    lines = [f"sharing loses at {pair_text(pair)}" for pair in losses]
    if not losses:
        lines.append(f"sharing loses at none of the {len(found.pairs)} shapes measured both ways")
    little = [p for p in found.pairs if 1 <= p.gain < LITTLE or (p.gain >= 1 and is_unclear(p))]
    lines += [f"sharing hardly pays at {pair_text(pair)}" for pair in little]
    return lines


# ---- two profiles ------------------------------------------------------------------------------


def print_comparison(comparison: Comparison) -> None:
    console = Console(highlight=False)
    for name, profile in (("old", comparison.old), ("new", comparison.new)):
        began = profile.measured.conditions["began"]
        console.print(f"{name}: {escape(machine_line(profile))}, began {escape(began)}")
    for difference in comparison.differences:
        change = f"{difference.name}: {difference.old} before, {difference.new} now"
        console.print(f"  differs: {escape(change)}")
    console.print(escape(ratio_sentence(comparison.steps)))
    if comparison.ratios:
        console.print(ratios_table(comparison))
    console.print(peaks_table(comparison))
    if comparison.transfers:
        console.print(transfers_table(comparison))
    for warning in comparison.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}")


def ratio_sentence(steps: RatioSummary | None) -> str:
    if steps is None:
        return "No step was measured in both."
    measured = f"(median of {steps.count} measured in both)"
    if abs(steps.median - 1) < SAME:
        return f"Steps take as long as before, {steps.median:.2f} times {measured}."
    if steps.median > 1:
        return f"Steps take {steps.median:.2f} times as long as before {measured}."
    how_fast = f"{1 / steps.median:.2f} times as fast"
    return f"Steps are {how_fast} as before: {steps.median:.2f} of the time {measured}."


def ratios_table(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="new seconds / old seconds of the same points")
    for name in ("kind", "precision"):
        table.add_column(name)
    for name in ("points", "10th", "median", "90th"):
        table.add_column(name, justify="right")
    for row in comparison.ratios:
        numbers = [f"{value:.2f}" for value in (row.tenth, row.median, row.ninetieth)]
        table.add_row(row.kind, row.precision, str(row.count), *numbers)
    return table


def peaks_table(comparison: Comparison) -> Table:
    old, new = comparison.old_roofs, comparison.new_roofs
    table = Table(box=box.SIMPLE_HEAD, title="the fastest that was measured")
    table.add_column("")
    for name in ("old", "new", "new / old"):
        table.add_column(name, justify="right")
    rows = [
        (f"product, {dtype} weights", old.products.get(dtype), new.products.get(dtype), "FLOP/s")
        for dtype in dict.fromkeys((*old.products, *new.products))
    ]
    rows += [(name, getattr(old, name), getattr(new, name), "B/s") for name in READING]
    for label, before, after, unit in rows:
        rates = ["-" if rate is None else show_rate(rate, unit) for rate in (before, after)]
        ratio = "-" if before is None or after is None else f"{after / before:.2f}"
        table.add_row(label, *rates, ratio)
    return table


def transfers_table(comparison: Comparison) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title="the old model on all that the new one measured",
        padding=0,
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    columns = ("points", "median", "90th", "inside", "visits", "pace", "at pace")
    for name in columns:
        table.add_column(name, justify="right")
    for row in comparison.transfers:
        errors = row.errors
        numbers = (errors.median, errors.ninetieth, errors.covered, errors.visits_covered)
        table.add_row(
            errors.name,
            str(errors.count),
            *map(show_percent, numbers),
            f"{row.bias:.2f}",
            show_percent(row.at_pace),
        )
    table.caption = (
        "inside, visits: medians, and single visits, inside the old intervals of 90 %;\n"
        "pace: measured / predicted, median; at pace: error of predictions times pace"
    )
    return table
