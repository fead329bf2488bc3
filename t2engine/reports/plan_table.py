"""A plan report as a table for people and as one JSON object for scripts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from t2engine.laws.law_file import law_to_dict
from t2engine.laws.selection import LawChoice
from t2engine.plan.bands import PlanBands
from t2engine.plan.optimizer import Plan, PlanReport
from t2engine.reports.plan_bands import bands_column, bands_document, bands_line
from t2engine.reports.units import show_amount

SUCCESS = "predicted pass@k"  # the row, whatever the selection rule has success be
FORMAT = "t2engine.plan"
VERSION = 2  # 2: train_cost, inference_cost, total_cost in `unit`; 1 had them in FLOPs alone


def plan_document(
    report: PlanReport, choice: LawChoice, bands: PlanBands | None = None
) -> dict[str, Any]:
    """Everything the table shows and the fitted law, as JSON-able plain data."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "unit": report.unit,
        "costs": report.costs,
        "measured": report.measured,
        "target": report.target,
        "budget": {name: x for name, x in vars(report.budget).items() if x is not None},
        "demand": asdict(report.demand),
        "rule": asdict(report.rule),
        "t2": _plan_document(report.t2),
        "compute_optimal": _plan_document(report.compute_optimal),
        "ties": [_plan_document(plan) for plan in report.ties],
        "bands": bands_document(bands),
        "budget_ratio": report.budget_ratio,
        "saving": report.saving,
        "law": law_to_dict(choice.law),
        "held_out_errors": choice.held_out_errors,
        "warnings": [*choice.notes, *report.warnings],
    }


def plan_table(report: PlanReport, choice: LawChoice, bands: PlanBands | None = None) -> Group:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("T²", justify="right")
    table.add_column("compute-optimal", justify="right")
    columns = [_column(report.t2, report), _column(report.compute_optimal, report)]
    if bands is not None:
        table.add_column(f"T², {bands.level:.0%} band", justify="right")
        columns.append(bands_column(bands, count))
    for label in dict.fromkeys(x for column in columns for x in column):
        shown = f"predicted {report.rule.success_name}" if label == SUCCESS else label
        table.add_row(shown, *(column.get(label, "") for column in columns))
    lines = [_saving(report), _law(choice), bands_line(bands), f"costs: {report.costs}"]
    lines += [f"rule: {report.rule.description}"] * (not report.rule.is_plain)
    lines += [f"warning: {x}" for x in (*choice.notes, *report.warnings, *report.t2.warnings)]
    lines += [f"warning, compute-optimal: {x}" for x in report.compute_optimal.warnings]
    return Group(Text(_title(report)), table, *(Text(line) for line in lines))


def _column(plan: Plan, report: PlanReport) -> dict[str, str]:
    stops = report.rule.stop_at_first
    rows = {
        "parameters N": count(plan.N),
        "training tokens D": count(plan.D),
        **_data_rows(plan),
        "tokens per parameter D/N": count(plan.tokens_per_parameter),
        "samples per question k": count(plan.k),
        **({"samples expected": count(plan.expected_samples)} if stops else {}),
        SUCCESS: f"{plan.pass_at_k:.4g}",
        "training cost": _cost(plan.train_cost, plan, report),
        "inference cost": _cost(plan.inference_cost, plan, report),
    }
    if plan.spread is not None:
        rows["training, within 90 %"] = _interval(plan.spread.train, plan.unit)
        rows["inference, within 90 %"] = _interval(plan.spread.serve, plan.unit)
    return rows


def _data_rows(plan: Plan) -> dict[str, str]:
    if plan.epochs is None or plan.epochs <= 1:
        return {}
    worth = count(plan.effective_tokens)
    return {"epochs": count(plan.epochs), "new tokens that D is worth": worth}


def _interval(ends: tuple[float, float], unit: str) -> str:
    low, high = (show_amount(end, unit) for end in ends)
    same = low.rpartition(" ")[2] == high.rpartition(" ")[2]
    return f"{low.rpartition(' ')[0] if same else low} to {high}"


def _plan_document(plan: Plan) -> dict[str, Any]:
    document = {name: value for name, value in asdict(plan).items() if name != "spread"}
    intervals = (None, None) if plan.spread is None else (plan.spread.train, plan.spread.serve)
    return {
        **document,
        "train_interval": intervals[0] and list(intervals[0]),
        "inference_interval": intervals[1] and list(intervals[1]),
        "warnings": list(plan.warnings),
        "tokens_per_parameter": plan.tokens_per_parameter,
        "total_cost": plan.total_cost,
    }


def _title(report: PlanReport) -> str:
    budget, demand = report.budget, report.demand
    tokens = f"{demand.output_tokens:g} output tokens a sample"
    if budget.total is None:
        assert budget.train is not None
        assert budget.inference is not None
        to_train = f"{show_amount(budget.train, report.unit)} to train"
        return f"{to_train}, {show_amount(budget.inference, report.unit)} per question, {tokens}"
    name = report.rule.success_name
    least = f"least cost of {name} {report.target:g}: " if report.target is not None else ""
    total = f"{show_amount(budget.total, report.unit)} in all"
    return f"{least}{total}, {demand.questions:,.0f} questions, {tokens}"


def count(value: float) -> str:
    """Three digits, with a letter from a million on: 29,500 or 283M; beyond that as a power."""
    if value < 1e6:
        rounded = float(f"{value:.3g}")
        return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
    for scale, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if scale <= value < 1000 * scale:
            return f"{value / scale:.3g}{letter}"
    return f"{value:.3g}"


def _cost(cost: float, plan: Plan, report: PlanReport) -> str:
    shown = show_amount(cost, plan.unit)
    return shown if report.budget.is_split else f"{shown} ({cost / plan.total_cost:.0%})"


def _saving(report: PlanReport) -> str:
    if report.saving is None or report.budget_ratio is None:
        name = report.rule.success_name
        return f"saving: cannot be stated, the compute-optimal plan does not reach this {name}"
    return (
        f"saving: {report.saving:.1%}; the compute-optimal plan needs {report.budget_ratio:.4g} "
        f"times this budget for the same predicted {report.rule.success_name}"
    )


def _law(choice: LawChoice) -> str:
    fit = choice.law.fit
    seen = "" if fit is None else f", fitted to {fit.num_checkpoints} checkpoints"
    if not choice.held_out_errors:
        return f"law: {choice.law.name}{seen}"
    errors = ", ".join(f"{name} {x:.3f}" for name, x in choice.held_out_errors.items())
    return f"law: {choice.law.name}{seen}; error of pass@k at unseen checkpoints: {errors}"
