"""Fitted laws side by side, as tables for people and as one JSON object for scripts."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from t2engine.laws.comparison import Comparison, Contender
from t2engine.laws.draws import parameters_of
from t2engine.laws.law_file import law_to_dict
from t2engine.laws.observed import Observations
from t2engine.laws.splits import SPLITS

FORMAT = "t2engine.fit"
VERSION = 1


def fit_document(comparison: Comparison, observations: Observations) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "observations": {
            "source": observations.source,
            "checkpoints": len(observations.checkpoints),
            "questions": len(observations.questions),
            "samples": int(observations.num_samples.sum()),
        },
        "best": comparison.best.name,
        "sound": comparison.sound,
        "laws": [_contender_document(x) for x in comparison.contenders],
        "notes": list(comparison.notes),
    }


def _contender_document(contender: Contender) -> dict[str, Any]:
    document: dict[str, Any] = {"law": contender.name, "obstacle": contender.obstacle or None}
    if contender.law is None:
        return document
    return document | {
        "held_out_errors": {x.split: x.error for x in contender.scores},
        "not_scored": {x.split: x.reason for x in contender.scores if x.error is None},
        "converged": contender.converged,
        "bounds_hit": list(contender.bounds_hit),
        "parameters": parameters_of(contender.law),
        "intervals": {name: list(ends) for name, ends in contender.intervals.items()},
        "notes": list(contender.notes),
        "fitted": law_to_dict(contender.law),
    }


def fit_tables(comparison: Comparison, observations: Observations) -> Group:
    parts: list[Table | Text] = [Text(_title(observations)), _law_table(comparison)]
    parts += [_parameter_table(x) for x in comparison.contenders if x.law is not None]
    return Group(*parts, *(Text(line) for line in _lines(comparison)))


def _title(observations: Observations) -> str:
    samples = int(observations.num_samples.sum())
    return (
        f"{observations.source}: {len(observations.checkpoints)} checkpoints, "
        f"{len(observations.questions):,} questions, {samples:,} samples"
    )


def _law_table(comparison: Comparison) -> Table:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("law")
    for split in SPLITS:
        table.add_column(f"error of pass@k, {split} held out", justify="right")
    table.add_column("converged")
    table.add_column("on a bound")
    for contender in comparison.contenders:
        if contender.law is None:
            table.add_row(contender.name, *("—" for _ in SPLITS), "not fitted", "")
            continue
        errors = ["—" if x.error is None else f"{x.error:.3f}" for x in contender.scores]
        name = contender.name + (" (best)" if contender is comparison.best else "")
        hit = ", ".join(contender.bounds_hit) or "none"
        table.add_row(name, *errors, "yes" if contender.converged else "no", hit)
    return table


def _parameter_table(contender: Contender) -> Table:
    assert contender.law is not None
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column(contender.name)
    for title in ("value", "5 %", "95 %"):
        table.add_column(title, justify="right")
    for name, value in parameters_of(contender.law).items():
        ends = contender.intervals.get(name)
        shown = ("", "") if ends is None else (f"{ends[0]:.4g}", f"{ends[1]:.4g}")
        table.add_row(name, f"{value:.4g}", *shown)
    return table


def _lines(comparison: Comparison) -> list[str]:
    lines = ["intervals: refits to models drawn with replacement, a model being one N"]
    for contender in comparison.contenders:
        if contender.obstacle:
            lines.append(f"{contender.name} was not fitted: {contender.obstacle}")
        lines += [f"note: {x}" for x in contender.notes]
        lines += [
            f"{x.law} was not scored with {x.split} held out: {x.reason}"
            for x in contender.scores
            if x.error is None
        ]
    return lines + [f"note: {x}" for x in comparison.notes]
