"""Tables of a calibration's page, in HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from t2engine.costs.evaluation import ErrorSummary, HeldOut
from t2engine.costs.profile import HardwareProfile
from t2engine.reports.calibration_findings import Findings, roof_rows
from t2engine.reports.units import show_percent, show_seconds, show_times

SHAPES = {
    "decode": "samples {num_samples}, prompts {num_prompts} of {prefix_len:,}, own {suffix_len}",
    "prefill": "a prompt of {prompt_len:,}",
    "training": "rows {batch_size} of {sequence_len}",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int = 1) -> str:
    """Text is escaped here. Columns from `numbers_from` on are set to the right."""

    def cells(values: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if i >= numbers_from else ''}>{escape(value)}</{tag}>"
            for i, value in enumerate(values)
        )

    body = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return (
        f"<div class=scroll><table><thead><tr>{cells(head, 'th')}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def errors_table(found: Findings) -> str:
    head = ("", "points", "median", "90th", "worst", "inside", "one run", "repeats", "2N")
    rows: list[Sequence[str]] = []
    for row in found.errors:
        rows.append(error_cells(row))
        rows += [
            error_cells(detail) for detail in found.details if detail.name.startswith(row.name)
        ]
    return table((*head, "roofline"), rows)


def error_cells(row: ErrorSummary) -> list[str]:
    shares = (row.median, row.ninetieth, row.worst, row.covered, row.visits_covered)
    baselines = (
        f"{show_percent(x)} ({show_times(x / row.median)})" for x in (row.two_n, row.roofline)
    )
    shown = [show_percent(share) for share in (*shares, row.repeat_spread)]
    return [row.name, str(row.count), *shown, *baselines]


def roofs_table(found: Findings) -> str:
    rows = roof_rows(found.roofs)
    if found.sample_seconds is not None:
        rows.append(("a sample, beside its steps", show_seconds(found.sample_seconds)))
    return table(("", "measured"), rows)


def held_out_table(entries: Iterable[HeldOut]) -> str:
    """Every held-out point, the worst first."""
    head = ("kind", "model", "precision", "shape", "measured", "predicted", "interval of 90 %")
    rows = [held_out_cells(e) for e in sorted(entries, key=lambda e: e.error, reverse=True)]
    return table((*head, "error", "inside", "2N off"), rows, numbers_from=4)


def held_out_cells(entry: HeldOut) -> list[str]:
    return [
        entry.kind,
        entry.shape["model"],
        entry.shape.get("precision", "float32"),
        shape_text(entry.kind, entry.shape),
        show_seconds(entry.measured),
        show_seconds(entry.predicted),
        f"{show_seconds(entry.low)} to {show_seconds(entry.high)}",
        show_percent(entry.error),
        "yes" if entry.is_covered else "no",
        show_percent(abs(entry.two_n / entry.measured - 1)),
    ]


def shape_text(kind: str, shape: Mapping[str, Any]) -> str:
    return SHAPES[kind].format(**shape)


def conditions_table(profile: HardwareProfile) -> str:
    measured, conditions = profile.measured, profile.measured.conditions
    machine = measured.machine
    packages = ", ".join(f"{n} {v}" for n, v in (machine.get("packages") or {}).items() if v)
    others, steal = (conditions.get(name) or [0.0] for name in ("others_cores", "steal_cores"))
    clock = conditions.get("clock_hz")
    held_out = sum(point.held_out for point in measured.points)
    rows = [
        ("measured by", f"t2 calibrate{' --quick' if conditions.get('quick') else ''}"),
        ("began", str(conditions["began"])),
        ("took", f"{conditions['seconds']:.0f} s in {conditions['rounds']} rounds"),
        (
            "points",
            f"{len(measured.points)}, of which {held_out} held out by rule before measuring",
        ),
        ("device", str(conditions.get("device", "cpu"))),
        ("processor", f"{machine['cpu']}, {machine['cores']} cores"),
        ("threads", str(conditions["threads"])),
        ("instruction set", str((machine.get("extension") or {}).get("chosen_isa") or "none")),
        ("GPU", str(machine.get("gpu") or "none")),
        ("clock", "not told by the system" if clock is None else f"{clock / 1e9:.2f} GHz"),
        ("busy rounds", f"{conditions['busy_rounds']} of {conditions['rounds']}"),
        ("others' use", f"at most {max(others):.2f} cores; the host took {max(steal):.2f} at most"),
        ("versions", f"t2engine {machine['t2engine']}, Python {machine['python']}, {packages}"),
        ("precisions", ", ".join(profile.steps)),
    ]
    return table(("", ""), rows, numbers_from=2)


def energy_table(points: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for point in points for name in point))
    return table(names, [[energy_cell(point.get(name)) for name in names] for point in points])


def energy_cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
