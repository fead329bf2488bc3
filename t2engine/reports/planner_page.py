"""A plan as one page of HTML that needs nothing beside itself and answers anew as sliders move.

The page plans in the reader's browser, by the files of `planner/`: laws.js, costs.js, problem.js,
search.js, closed.js, baseline.js, plan.js and bands.js are t2engine's planner once more, and give
its numbers. What they plan with travels in the page: planner_document.py. The address holds the
settings that were moved (plan.html#budget=1e15&max_k=64), `window.t2state` the answer.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from t2engine.files import write_text
from t2engine.plan.optimizer import PlanReport
from t2engine.reports.page_style import STYLE
from t2engine.reports.planner_document import PlannerInputs, planner_document

SCRIPTS = (
    *("laws", "costs", "numbers", "problem", "search", "closed", "baseline", "plan", "bands"),
    *("draw", "contours", "map", "curves", "settings", "controls", "words", "slow", "page"),
)


def write_planner_page(report: PlanReport, inputs: PlannerInputs, path: Path) -> None:
    write_text(path, planner_page(report, inputs))


def planner_page(report: PlanReport, inputs: PlannerInputs) -> str:
    data = json.dumps(planner_document(report, inputs), allow_nan=False, ensure_ascii=False)
    parts = {
        "style": STYLE + part("style.css"),
        "script": "".join(part(f"{name}.js") for name in SCRIPTS),
        "data": data.replace("<", "\\u003c"),  # no </script> inside the data ends it
    }
    page = part("page.html")
    for name, text in parts.items():
        before, after = page.split("{{" + name + "}}")
        page = before + text + after
    return page


def part(name: str) -> str:
    return (files("t2engine.reports") / "planner" / name).read_text(encoding="utf-8")
