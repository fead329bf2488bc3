from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from t2engine.costs.formula import Demand
from t2engine.laws.law_file import law_from_dict
from t2engine.laws.selection import LawChoice, fit_law
from t2engine.laws.splits import counts_ladder
from t2engine.plan.optimizer import PlanReport, plan_budget
from t2engine.plan.problem import Budget
from t2engine.plan.words import count
from t2engine.reports.plan_table import plan_document, plan_table
from tests.laws.ladder import observations


@pytest.fixture(scope="module")
def choice() -> LawChoice:
    return fit_law(counts_ladder(observations(num_questions=60)), "best")


def text_of(report: PlanReport, choice: LawChoice) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(plan_table(report, choice))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_document_is_json_and_holds_the_report(choice: LawChoice) -> None:
    report = plan_budget(choice.law, Budget(total=1e14), Demand(1e5, 16))
    document = json.loads(json.dumps(plan_document(report, choice), allow_nan=False))
    assert document["format"] == "t2engine.plan"
    assert document["budget"] == {"total": 1e14}
    assert document["demand"] == {"questions": 1e5, "output_tokens": 16, "prompt_tokens": 0}
    for name, plan in (("t2", report.t2), ("compute_optimal", report.compute_optimal)):
        assert document[name]["N"] == plan.N
        assert document[name]["pass_at_k"] == plan.pass_at_k
        assert document[name]["warnings"] == list(plan.warnings)
    assert document["saving"] == report.saving
    assert document["unit"] == document["t2"]["unit"] == "flops"
    assert document["t2"]["train_interval"] is None
    assert document["t2"]["total_cost"] == report.t2.total_cost
    assert law_from_dict(document["law"]) == choice.law
    assert document["held_out_errors"] == choice.held_out_errors


def test_table_shows_both_plans_the_saving_and_every_warning(choice: LawChoice) -> None:
    report = plan_budget(choice.law, Budget(total=1e16), Demand(1e5, 16))
    text = text_of(report, choice)
    for plan in (report.t2, report.compute_optimal):
        assert count(plan.N) in text
        assert f"{plan.pass_at_k:.4g}" in text
    assert f"saving: {report.saving:.1%}" in text
    assert report.t2.warnings
    for warning in (*report.t2.warnings, *report.compute_optimal.warnings, *report.warnings):
        assert warning in text
    assert f"({report.t2.train_cost / 1e16:.0%})" in text


def test_two_budgets_state_their_units(choice: LawChoice) -> None:
    report = plan_budget(choice.law, Budget(train=1e13, inference=1e8), Demand())
    text = text_of(report, choice)
    assert text.startswith("1e+13 FLOPs to train, 1e+08 FLOPs per question, 1 output tokens")
    assert "%)" not in text  # no shares of a sum that is not one


def test_a_saving_that_cannot_be_stated_is_said(choice: LawChoice) -> None:
    report = plan_budget(choice.law, Budget(total=1e14), Demand(1e5, 16))
    unreachable = PlanReport(**{**vars(report), "budget_ratio": None})
    assert "saving: cannot be stated" in text_of(unreachable, choice)
    assert plan_document(unreachable, choice)["saving"] is None


def test_counts_have_three_digits() -> None:
    values = (1, 3.456, 48.5, 336.4, 29_532, 999_600, 1.4e7, 2.83e8, 5e9, 7e16)
    shown = ["1", "3.46", "48.5", "336", "29,500", "1,000,000", "14M", "283M", "5B", "7e+16"]
    assert [count(value) for value in values] == shown
