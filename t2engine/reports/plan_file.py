"""What `t2 plan --json` wrote, read back as far as another command needs it.

Raises: ValueError naming the file and the key, what was expected and what was there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from t2engine.costs.formula import Demand
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.law_file import law_from_dict
from t2engine.laws.splits import FittedLaw
from t2engine.reports.plan_table import FORMAT, VERSION


@dataclass(frozen=True)
class StoredPlan:
    """A plan that somebody has: the T2 plan of a document, or N, D and k alone.

    `is_split`: its inference budget was for one question, and so is its demand.
    """

    N: float
    D: float
    k: float
    demand: Demand | None = None
    unit: str | None = None
    law: FittedLaw | None = None
    is_split: bool = False


def read_plan(path: Path) -> StoredPlan:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file in UTF-8: {error}") from error
    try:
        return plan_from_document(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def plan_from_document(document: Any) -> StoredPlan:
    if not isinstance(document, Mapping):
        raise ValueError(
            f"a plan must be an object, as `t2 plan --json` writes it, got "
            f"{type(document).__name__}"
        )
    for key, expected in (("format", FORMAT), ("version", VERSION)):
        if document.get(key) != expected:
            raise ValueError(
                f"{key} must be {expected!r}, got {document.get(key)!r}; `t2 plan --json` of this "
                "version writes such a file"
            )
    unit = document.get("unit")
    if not isinstance(unit, str):
        raise ValueError(f"unit must be the unit of its costs, got {unit!r}")
    law = law_from_dict(_part(document, "law"))
    if isinstance(law, ChinchillaLaw):
        raise ValueError("law must be one of pass@k, a chinchilla law has no k")
    return StoredPlan(
        **_numbers(document, "t2", ("N", "D", "k")),
        demand=Demand(**_numbers(document, "demand", tuple(x.name for x in fields(Demand)))),
        unit=unit,
        law=law,
        is_split="inference" in _part(document, "budget"),
    )


def unit_notes(plan: StoredPlan, unit: str) -> tuple[str, ...]:
    if plan.unit in (None, unit):
        return ()
    return (f"the plan was made for the least {plan.unit}, and is priced in {unit} here",)


def _part(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = document.get(key)
    if not isinstance(part, Mapping):
        raise ValueError(f"{key} must be an object, got {part!r}")
    return part


def _numbers(document: Mapping[str, Any], key: str, names: tuple[str, ...]) -> dict[str, float]:
    part = _part(document, key)
    for name in names:
        value = part.get(name)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
        ):
            raise ValueError(f"{key}.{name} must be a number, got {value!r}")
    return {name: float(part[name]) for name in names}
