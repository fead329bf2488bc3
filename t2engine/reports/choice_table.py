"""A choice among existing models as a table for people and as one JSON object for scripts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from t2engine.plan.choice import ChoiceReport, Option
from t2engine.plan.words import count
from t2engine.reports.units import show_amount

FORMAT, VERSION = "t2engine.choice", 1
NO_SUCH_K = "—"


def choice_document(report: ChoiceReport) -> dict[str, Any]:
    options = [asdict(option) for option in report.options]
    return {
        "format": FORMAT,
        "version": VERSION,
        "unit": report.unit,
        "costs": report.costs,
        "measured": report.measured,
        "target": report.target,
        "max_k": report.max_k,
        "demand": asdict(report.demand),
        "best": options[0] if report.best is not None else None,
        "accuracy": report.accuracy and list(report.accuracy),
        "options": options,
    }


def choice_table(report: ChoiceReport) -> Group:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("model", no_wrap=True, overflow="fold")
    for name in ("parameters N", "samples k", "pass@k", "cost", "times the least"):
        table.add_column(name, justify="right")
    for option in report.options:
        table.add_row(option.model, *_cells(option, report))
    demand = report.demand
    title = (
        f"pass@k {report.target:g} at the least cost, {demand.questions:,.0f} questions, "
        f"{demand.output_tokens:g} output tokens a sample"
    )
    lines = [_verdict(report), f"costs: {report.costs}; nothing is trained"]
    lines += [f"warning: {x.model}: {words}" for x in report.options for words in x.warnings]
    return Group(Text(title), table, *(Text(line) for line in lines))


def _cells(option: Option, report: ChoiceReport) -> tuple[str, ...]:
    accuracy = f"{option.pass_at_k:.4g}"
    if option.k is None or option.cost is None:
        return count(option.N), NO_SUCH_K, accuracy, NO_SUCH_K, NO_SUCH_K
    least = report.options[0].cost
    assert least is not None, "an option with a cost comes first"
    cost = show_amount(option.cost, report.unit)
    return count(option.N), f"{option.k:,}", accuracy, cost, f"{option.cost / least:.3g}"


def _verdict(report: ChoiceReport) -> str:
    best, accuracy = report.best, report.accuracy
    if best is None or best.cost is None or accuracy is None:
        nearest = report.options[0]
        return (
            f"no model reaches it with up to {report.max_k:,} samples; the nearest is "
            f"{nearest.model} with {nearest.pass_at_k:.4g}"
        )
    words = (
        f"least: {best.model} with k = {best.k:,}, {show_amount(best.cost, report.unit)}; its "
        f"pass@k is within {accuracy[0]:.3g} to {accuracy[1]:.3g} (90 %, over questions)"
    )
    if best.interval is not None:
        low, high = (show_amount(end, report.unit) for end in best.interval)
        words += f", its cost within {low} to {high} (90 %)"
    return words
