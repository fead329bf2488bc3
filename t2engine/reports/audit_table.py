"""An audit as tables for people and as one JSON object for scripts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from t2engine.laws.law_file import law_to_dict
from t2engine.laws.selection import LawChoice
from t2engine.plan.audit import AuditReport, CostParts
from t2engine.plan.audit_odds import AuditOdds
from t2engine.plan.moves import NAMES
from t2engine.plan.optimizer import Plan
from t2engine.plan.words import count
from t2engine.reports.plan_table import interval_words, law_line, plan_entry
from t2engine.reports.units import show_amount, show_percent

FORMAT, VERSION = "t2engine.audit", 1

COLUMNS = ("yours", "best at its cost", "cheapest as good")
EXCHANGES = {
    "N": "moving D and k, not N",
    "D": "moving N and k, not D",
    "k": "moving N and D, not k",
}


def audit_document(
    report: AuditReport, choice: LawChoice, tolerance: float, odds: AuditOdds | None = None
) -> dict[str, Any]:
    """Everything the tables show and the law, as JSON-able plain data."""
    plans = {
        "audited": report.audited,
        "better": report.best.better,
        "cheaper": report.best.cheaper,
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "unit": report.unit,
        "costs": report.costs,
        "measured": report.measured,
        "demand": asdict(report.demand),
        "tolerance": tolerance,
        "within_tolerance": report.is_within(tolerance),
        "is_best": report.is_best,
        **{name: plan_entry(plan) for name, plan in plans.items()},
        "cost_parts": dict(zip(plans, map(asdict, report.parts), strict=True)),
        "gain": report.gain,
        "saving": report.saving,
        "saving_share": report.saving_share,
        "gain_by": report.gain_by,
        "saving_by": report.saving_by,
        "keeping": {
            name: {"better": plan_entry(x.better), "cheaper": plan_entry(x.cheaper)}
            for name, x in report.keeping.items()
        },
        "odds": None if odds is None else _odds_document(odds),
        "law": law_to_dict(choice.law),
        "held_out_errors": choice.held_out_errors,
        "warnings": [*choice.notes, *report.warnings],
    }


def audit_table(
    report: AuditReport, choice: LawChoice, tolerance: float, odds: AuditOdds | None = None
) -> Group:
    lines = [] if report.is_best else _odds_lines(odds)
    lines += [law_line(choice), f"costs: {report.costs}"]
    lines += [f"warning: {x}" for x in (*choice.notes, *report.warnings)]
    plans = (report.audited, report.best.better, report.best.cheaper)
    named = dict(zip(COLUMNS, plans[: _num_shown(report)], strict=False))
    for name, plan in named.items():
        lines += [f"warning, {name}: {x}" for x in plan.warnings]
    tables = [_plans(report)] if report.is_best else [_plans(report), _sources(report)]
    verdict = Text(_verdict(report, tolerance), style="bold")
    return Group(Text(_title(report)), verdict, *tables, *map(Text, lines))


def _title(report: AuditReport) -> str:
    demand = report.demand
    prompt = f", {demand.prompt_tokens:g} prompt tokens" if demand.prompt_tokens else ""
    return (
        f"{show_amount(report.audited.total_cost, report.unit)} in all, {demand.questions:,.0f} "
        f"questions, {demand.output_tokens:g} output tokens a sample{prompt}"
    )


def _verdict(report: AuditReport, tolerance: float) -> str:
    if report.is_best:
        return "This is the best plan: none costs less for its pass@k, none does more at its cost."
    own, better = (f"{x.pass_at_k:.4g}" for x in (report.audited, report.best.better))
    words = (
        f"{show_percent(report.saving_share)} of its cost "
        f"({show_amount(report.saving, report.unit)}) could be saved at the same pass@k"
    )
    if own != better:
        words += f", or pass@k be raised from {own} to {better} at the same cost"
    if report.is_within(tolerance):
        return f"Within {show_percent(tolerance)} of the best plan: {words}."
    return f"Not the best plan: {words}."


def _num_shown(report: AuditReport) -> int:
    """Of the three columns: the audited plan stands alone where it is the best."""
    return 1 if report.is_best else len(COLUMNS)


def _plans(report: AuditReport) -> Table:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("")
    plans = (report.audited, report.best.better, report.best.cheaper)
    columns = [_column(x, parts, report) for x, parts in zip(plans, report.parts, strict=True)]
    shown = _num_shown(report)
    for name in COLUMNS[:shown]:
        table.add_column(name, justify="right")
    for label in columns[0]:
        table.add_row(label, *(column[label] for column in columns[:shown]))
    return table


def _column(plan: Plan, parts: CostParts, report: AuditReport) -> dict[str, str]:
    rows = {
        "parameters N": count(plan.N),
        "training tokens D": count(plan.D),
        "tokens per parameter": count(plan.tokens_per_parameter),
        "samples k": count(plan.k),
        "predicted pass@k": f"{plan.pass_at_k:.4g}",
        "cost": show_amount(plan.total_cost, plan.unit),
        "  training": show_amount(parts.training, plan.unit),
    }
    if report.demand.prompt_tokens:
        rows["  prompts"] = show_amount(parts.prompts, plan.unit)
    rows["  samples"] = show_amount(parts.samples, plan.unit)
    if plan.spread is not None:
        rows["  training, 90 %"] = interval_words(plan.spread.train, plan.unit)
        rows["  serving, 90 %"] = interval_words(plan.spread.serve, plan.unit)
    return rows


def _sources(report: AuditReport) -> Table:
    """What each exchange would do alone, and what of the whole is by N, D and k, and spent on what.

    A row is a label, what is gained of pass@k (None where it has no part), and what is saved.
    """
    own = report.audited
    exchanges: list[tuple[str, float | None, float]] = [
        (
            EXCHANGES[name],
            report.keeping[name].better.pass_at_k - own.pass_at_k,
            own.total_cost - report.keeping[name].cheaper.total_cost,
        )
        for name in NAMES
    ]
    whole = ("moving all three", report.gain, report.saving)
    shares = [(f"of it, by {name}", report.gain_by[name], report.saving_by[name]) for name in NAMES]
    spent = [(f"of it, on {name}", None, saved) for name, saved in _saved_parts(report)]
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("where it comes from")
    for title in ("pass@k at the same cost", "cost at the same pass@k"):
        table.add_column(title, justify="right")
    for rows in ([*exchanges, whole], shares, spent):
        for label, gain, saving in rows:
            table.add_row(label, "" if gain is None else f"{gain:+.3g}", _change(-saving, own))
        table.add_section()
    return table


def _saved_parts(report: AuditReport) -> list[tuple[str, float]]:
    before, _, after = report.parts
    rows = [("training", before.training - after.training)]
    if report.demand.prompt_tokens:
        rows.append(("prompts", before.prompts - after.prompts))
    return [*rows, ("samples", before.samples - after.samples)]


def _change(change: float, audited: Plan) -> str:
    sign = "+" if change > 0 else "-" if change < 0 else ""
    amount = show_amount(abs(change), audited.unit)
    return f"{sign}{amount} ({change / audited.total_cost:+.1%})"


def _odds_lines(odds: AuditOdds | None) -> list[str]:
    if odds is None:
        return ["odds: not computed; --bands draws the laws they need, which may take a while"]
    level = show_percent(odds.level)
    better, cheaper = (
        f"{low:+.3g} to {high:+.3g}" for low, high in (odds.gain, odds.cheaper_change)
    )
    return [
        f"odds: the best plan at the same cost beats yours by {odds.share_better:.0%} of "
        f"{odds.source}; its pass@k changes by {better}, within {level}",
        f"pass@k of the cheapest plan changes by {cheaper}, within {level}",
    ]


def _odds_document(odds: AuditOdds) -> dict[str, Any]:
    return {name: list(x) if isinstance(x, tuple) else x for name, x in asdict(odds).items()}
