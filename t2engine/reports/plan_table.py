"""A plan report as a table for people and as one JSON object for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from t2engine.laws.law_file import law_to_dict
from t2engine.laws.selection import LawChoice
from t2engine.plan.advice import Advice
from t2engine.plan.bands import PlanBands
from t2engine.plan.optimizer import Plan, PlanReport
from t2engine.plan.sensitivity import Move
from t2engine.plan.warnings import range_warnings
from t2engine.plan.words import count
from t2engine.reports.plan_bands import bands_column, bands_document, bands_line
from t2engine.reports.units import show_amount

SUCCESS = "predicted pass@k"  # the row, whatever the selection rule has success be
FORMAT = "t2engine.plan"
# 2: train_cost, inference_cost, total_cost in `unit`; 1 had them in FLOPs alone
# 3: advice, and sensitivity: factors of N, D, k, and pass@k, for each changed assumption
VERSION = 3


def plan_document(
    report: PlanReport,
    choice: LawChoice,
    bands: PlanBands | None = None,
    advice: Sequence[Advice] = (),
    moves: Sequence[Move] = (),
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
        "t2": plan_entry(report.t2),
        "compute_optimal": plan_entry(report.compute_optimal),
        "ties": [plan_entry(plan) for plan in report.ties],
        "bands": bands_document(bands),
        "budget_ratio": report.budget_ratio,
        "saving": report.saving,
        "law": law_to_dict(choice.law),
        "held_out_errors": choice.held_out_errors,
        "warnings": [*choice.notes, *report.warnings],
        "advice": [asdict(x) for x in advice],
        "sensitivity": [asdict(x) for x in moves],
    }


def plan_table(
    report: PlanReport,
    choice: LawChoice,
    bands: PlanBands | None = None,
    advice: Sequence[Advice] = (),
) -> Group:
    """Advice that says how far the plan leaves the data stands for the warnings that do."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("T²", justify="right")
    table.add_column("compute-optimal", justify="right")
    plans, said = (report.t2, report.compute_optimal), {}
    columns = [_column(plan, report) for plan in plans]
    if bands is not None:
        table.add_column(f"T², {bands.level:.0%} band", justify="right")
        columns.append(bands_column(bands, count))
    for label in dict.fromkeys(x for column in columns for x in column):
        shown = f"predicted {report.rule.success_name}" if label == SUCCESS else label
        table.add_row(shown, *(column.get(label, "") for column in columns))
    lines = [_saving(report), law_line(choice), bands_line(bands), f"costs: {report.costs}"]
    lines += [f"rule: {report.rule.description}"] * (not report.rule.is_plain)
    lines += [f"{x.topic}: {x.text}" for x in advice]
    if any(x.topic == "beyond the data" for x in advice):
        said = {plan: range_warnings(choice.law.fit, plan.N, plan.D, plan.k) for plan in plans}
    ours, theirs = ([x for x in plan.warnings if x not in said.get(plan, ())] for plan in plans)
    lines += [f"warning: {x}" for x in (*choice.notes, *report.warnings, *ours)]
    lines += [f"warning, compute-optimal: {x}" for x in theirs]
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
        rows["training, within 90 %"] = interval_words(plan.spread.train, plan.unit)
        rows["inference, within 90 %"] = interval_words(plan.spread.serve, plan.unit)
    return rows


def _data_rows(plan: Plan) -> dict[str, str]:
    if plan.epochs is None or plan.epochs <= 1:
        return {}
    worth = count(plan.effective_tokens)
    return {"epochs": count(plan.epochs), "new tokens that D is worth": worth}


def interval_words(ends: tuple[float, float], unit: str) -> str:
    low, high = (show_amount(end, unit) for end in ends)
    same = low.rpartition(" ")[2] == high.rpartition(" ")[2]
    return f"{low.rpartition(' ')[0] if same else low} to {high}"


def plan_entry(plan: Plan) -> dict[str, Any]:
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


def law_line(choice: LawChoice) -> str:
    fit = choice.law.fit
    seen = "" if fit is None else f", fitted to {fit.num_checkpoints} checkpoints"
    if not choice.held_out_errors:
        return f"law: {choice.law.name}{seen}"
    errors = ", ".join(f"{name} {x:.3f}" for name, x in choice.held_out_errors.items())
    return f"law: {choice.law.name}{seen}; error of pass@k at unseen checkpoints: {errors}"
