"""A plan's document read back, and every way in which it may be another file's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from t2engine.costs.formula import Demand
from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.law_file import law_to_dict
from t2engine.laws.selection import LawChoice
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget
from t2engine.reports.plan_file import plan_from_document, read_plan, unit_notes
from t2engine.reports.plan_table import plan_document

LAW = Approach1Law(E=0.01, A=478.0, alpha=0.35, B=2143.0, beta=0.37, G=1.0, gamma=0.3)


def document(budget: Budget | None = None) -> dict[str, Any]:
    report = plan_budget(LAW, budget or Budget(total=1e20), Demand())
    return json.loads(json.dumps(plan_document(report, LawChoice(LAW, ()))))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    report = plan_budget(LAW, Budget(total=1e20), Demand(1e5, 12, 9))
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan_document(report, LawChoice(LAW, ()))))
    found = read_plan(path)
    assert (found.N, found.D, found.k) == (report.t2.N, report.t2.D, report.t2.k)
    assert (found.demand, found.unit, found.law) == (Demand(1e5, 12, 9), "flops", LAW)
    assert not found.is_split
    assert plan_from_document(document(Budget(train=1e20, inference=1e10))).is_split
    assert unit_notes(found, "flops") == ()
    assert unit_notes(found, "usd") == (
        "the plan was made for the least flops, and is priced in usd here",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "t2engine.choice"}, "format must be 't2engine.plan', got 't2engine.choice'"),
        ({"version": 99}, "version must be 3, got 99"),
        ({"unit": None}, "unit must be the unit of its costs, got None"),
        ({"t2": None}, "t2 must be an object, got None"),
        ({"t2": {"N": 1e6, "D": 1e7}}, "t2.k must be a number, got None"),
        ({"t2": {"N": "1e6", "D": 1e7, "k": 1}}, "t2.N must be a number, got '1e6'"),
        ({"t2": {"N": True, "D": 1e7, "k": 1}}, "t2.N must be a number, got True"),
        ({"t2": {"N": float("nan"), "D": 1e7, "k": 1}}, "t2.N must be a number, got nan"),
        ({"demand": {"questions": 1}}, "demand.output_tokens must be a number, got None"),
        ({"budget": []}, r"budget must be an object, got \[\]"),
        ({"law": None}, "law must be an object, got None"),
        ({"law": {"format": "other"}}, "law file: format must be 't2engine.law'"),
        (
            {"law": law_to_dict(ChinchillaLaw(1.0, 2.0, 0.3, 4.0, 0.5))},
            "law must be one of pass@k, a chinchilla law has no k",
        ),
    ],
)
def test_other_documents_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_from_document(document() | change)


def test_files_that_hold_no_document_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.json: cannot be read: No such file"):
        read_plan(tmp_path / "absent.json")
    path = tmp_path / "plan.json"
    path.write_text("N = 3")
    with pytest.raises(ValueError, match=r"plan\.json: not a JSON file in UTF-8"):
        read_plan(path)
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"plan\.json: a plan must be an object, .* got list"):
        read_plan(path)
