"""The planner's page: one file, and in a browser the numbers of `plan_budget` wherever it goes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.formula import CostModel, Demand, FormulaCost
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import HardwareProfile
from t2engine.laws.draws import resample
from t2engine.laws.selection import LawChoice, fit_law
from t2engine.laws.splits import Ladder, counts_ladder
from t2engine.plan.advice import Measured
from t2engine.plan.bands import plan_bands
from t2engine.plan.dual import plan_target
from t2engine.plan.limits import Limits
from t2engine.plan.optimizer import Plan, PlanReport, plan_budget
from t2engine.plan.problem import Budget
from t2engine.reports.plan_table import count
from t2engine.reports.planner_document import PlannerInputs, planner_document
from t2engine.reports.planner_page import SCRIPTS, part, planner_page, write_planner_page
from tests.laws.ladder import observations
from tests.reports.browser import Visit, visit

MOST_BYTES = 2 << 20
DIGITS = 1e-5  # of N, D, k and costs: merit is flat at its top, so these have half its digits
LAWS = ("counts", "approach1", "approach2")
DEMAND = Demand(1e6, 16, 0)
Steps = list[dict[str, Any]]


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    return counts_ladder(observations(num_questions=60))


def measured(ladder: Ladder) -> Measured:
    return Measured(ladder.curves.N, ladder.curves.D)


@pytest.fixture(scope="module")
def choices(ladder: Ladder) -> dict[str, LawChoice]:
    return {name: fit_law(ladder, name) for name in LAWS}


@pytest.fixture(scope="module")
def inputs(ladder: Ladder, choices: dict[str, LawChoice]) -> PlannerInputs:
    choice = choices["counts"]
    return PlannerInputs(
        choice, FormulaCost(), Limits(), measured(ladder), resample(ladder, choice.law)
    )


@pytest.fixture(scope="module")
def report(inputs: PlannerInputs) -> PlanReport:
    return plan_budget(inputs.choice.law, Budget(total=1e14), DEMAND)


@pytest.fixture(scope="module")
def walk(
    report: PlanReport, inputs: PlannerInputs, tmp_path_factory: pytest.TempPathFactory
) -> Visit:
    """Where the page begins, and what it answers as it is moved."""
    steps: Steps = [
        {"settle": True},
        {"hash": "budget=3e13&questions=2e5&tokens=40&prompt_tokens=300"},
        {"slide": "budget", "to": 700},
        {"slide": "max_k", "to": 0.25 * 1000},
        {"type": "max_k", "to": "none"},
        {"type": "budget", "to": "much"},
        {"type": "budget", "to": "10"},
        {"hash": "budget=1e14&colour=red"},
        {"press": "reset", "settle": True},
    ]
    return visit(planner_page(report, inputs), tmp_path_factory.mktemp("walk"), steps)


def agree(state: dict[str, Any], report: PlanReport) -> None:
    plans = {"t2": report.t2, "compute_optimal": report.compute_optimal}
    for name, plan in plans.items():
        for field in ("N", "D", "k", "train_cost", "inference_cost"):
            assert state[name][field] == pytest.approx(getattr(plan, field), rel=DIGITS), field
        assert state[name]["pass_at_k"] == pytest.approx(plan.pass_at_k, rel=1e-9, abs=1e-15)
        assert len(state[name]["warnings"]) == len(plan.warnings) - len(notes(plan))
    assert state["saving"] == pytest.approx(report.saving, rel=1e-8, abs=1e-8)
    assert state["budget_ratio"] == pytest.approx(report.budget_ratio, rel=1e-8)


def notes(plan: Plan) -> tuple[str, ...]:
    """How measured costs extrapolate is told only for the plan that the page begins with."""
    return () if plan.spread is None else plan.spread.notes


# ---- without a browser -------------------------------------------------------------------------


def test_the_page_is_one_small_file_that_refers_to_no_other(
    report: PlanReport, inputs: PlannerInputs, tmp_path: Path
) -> None:
    write_planner_page(report, inputs, tmp_path / "plan.html")
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert len(page.encode()) <= MOST_BYTES
    assert not re.search(r"https?:|//[a-z]+\.|@import|\bsrc=|\bhref=|url\((?!#)|fetch\(", page)
    assert "default-src 'none'" in page
    assert "{{" not in page
    for name in SCRIPTS:
        assert part(f"{name}.js") in page
    assert part("style.css") in page


def test_every_file_of_the_page_is_used_and_fits_the_eye() -> None:
    folder = Path(__file__).parents[2] / "t2engine" / "reports" / "planner"
    found = {path.name for path in folder.iterdir()}
    assert found == {f"{name}.js" for name in SCRIPTS} | {"style.css", "page.html"}
    for path in folder.iterdir():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) < 300, path.name
        assert path.suffix == ".html" or max(map(len, lines)) <= 100, path.name


def embedded(page: str) -> dict[str, Any]:
    [data] = re.findall(r'<script type="application/json" id="plan-data">(.*?)</script>', page)
    return json.loads(data)


def test_embedded_data_cannot_end_its_script(report: PlanReport, inputs: PlannerInputs) -> None:
    nasty = "</script><script>alert(1)</script><!-- {{script}}"
    choice = replace(inputs.choice, notes=(nasty,))
    page = planner_page(report, replace(inputs, choice=choice))
    assert page.count("</script>") == 2
    assert embedded(page)["notes"][0] == nasty
    plain = embedded(planner_page(report, inputs))
    assert plain == json.loads(json.dumps(planner_document(report, inputs)))
    assert len(plain["bands"]["laws"]) == 50


# ---- in a browser ------------------------------------------------------------------------------


def test_nothing_is_said_on_the_console(walk: Visit) -> None:
    assert walk.problems == []


def test_the_page_begins_with_the_command(
    walk: Visit, report: PlanReport, inputs: PlannerInputs
) -> None:
    first = walk.states[0]
    agree(first, report)
    assert inputs.resamples is not None
    bands = plan_bands(report, inputs.resamples)
    for name in ("N", "D", "k", "tokens_per_parameter", "pass_at_k"):
        assert first["bands"][name] == pytest.approx(getattr(bands, name), rel=DIGITS), name
    budgets = [point["budget"] for point in first["frontier"]]
    assert budgets == sorted(budgets)
    assert len(budgets) > 20
    assert first["refused"] == ""


def test_every_point_of_the_frontier_is_a_plan(walk: Visit, inputs: PlannerInputs) -> None:
    for point in walk.states[0]["frontier"][::8]:
        there = plan_budget(inputs.choice.law, Budget(total=point["budget"]), DEMAND)
        assert point["t2"] == pytest.approx(there.t2.pass_at_k, rel=1e-6)
        assert point["chinchilla"] == pytest.approx(there.compute_optimal.pass_at_k, rel=1e-6)
        assert point["band"][0] <= point["t2"] <= point["band"][1]


def test_an_address_sets_the_sliders(walk: Visit, inputs: PlannerInputs) -> None:
    agree(
        walk.states[1],
        plan_budget(inputs.choice.law, Budget(total=3e13), Demand(2e5, 40, 300)),
    )


def test_a_moved_slider_moves_the_answer_and_the_address(
    walk: Visit, inputs: PlannerInputs
) -> None:
    before, moved, limited, free = walk.states[1:5]
    budget = moved["settings"]["budget"]
    assert budget == float(f"{1e11 * 1e6**0.7:.3g}")
    assert f"budget={budget:.0f}" in moved["hash"]
    assert moved["t2"]["N"] > before["t2"]["N"]
    demand = Demand(2e5, 40, 300)
    agree(moved, plan_budget(inputs.choice.law, Budget(total=budget), demand))
    limits = Limits(max_k=limited["settings"]["max_k"])
    assert limits.max_k == float(f"{1e6**0.25:.3g}")
    agree(
        limited,
        plan_budget(inputs.choice.law, Budget(total=budget), demand, limits=limits),
    )
    assert free["t2"] == moved["t2"]


def test_wrong_numbers_are_refused_in_words(walk: Visit) -> None:
    before, much, too_small, unknown, again = walk.states[4:]
    assert "must be a number above 0" in much["refused"]
    assert much["t2"] == before["t2"]
    assert "the budget is too small" in too_small["refused"]
    assert "the budget is too small" in too_small["error"]
    assert "colour, which this page does not have" in unknown["refused"]
    assert again["refused"] == ""
    assert again["t2"] == walk.states[0]["t2"]
    assert again["hash"] == ""


def test_what_is_read_is_what_was_computed(
    walk: Visit, report: PlanReport, inputs: PlannerInputs
) -> None:
    cells = {row[0]: row[1:] for row in walk.rows if row and row[0]}
    assert inputs.resamples is not None
    bands = plan_bands(report, inputs.resamples)
    best, optimal = report.t2, report.compute_optimal
    for label, field in {
        "parameters N": "N",
        "training tokens D": "D",
        "tokens per parameter D/N": "tokens_per_parameter",
        "samples per question k": "k",
    }.items():
        ends = " to ".join(count(end) for end in getattr(bands, field))
        shown = [count(getattr(best, field)), count(getattr(optimal, field)), ends]
        assert cells[label] == shown
    assert float(cells["predicted pass@k"][0].rstrip(" %")) == pytest.approx(
        100 * best.pass_at_k, abs=0.01
    )
    for number in (best.N, best.D, best.k):
        assert count(number) in walk.text("headline")
    assert walk.text("command") == "t2 plan --budget 1e14 --questions 1e6 --tokens 16"


@pytest.mark.parametrize("law", LAWS)
def test_every_law_plans_as_the_command_does(
    law: str, choices: dict[str, LawChoice], ladder: Ladder, tmp_path: Path
) -> None:
    choice, limits = choices[law], Limits(max_k=9, max_tokens=2e8, max_size=4e5)
    given = plan_budget(choice.law, Budget(total=1e14), DEMAND, limits=limits)
    page = planner_page(given, PlannerInputs(choice, FormulaCost(), limits, measured(ladder)))
    steps: Steps = [
        {},
        {"hash": "max_k=none&max_tokens=none&max_size=none&budget=2e15"},
        {"hash": "max_k=none&max_size=1e4&prompt_tokens=90"},
    ]
    seen = visit(page, tmp_path, steps)
    assert seen.problems == []
    agree(seen.states[0], given)
    agree(seen.states[1], plan_budget(choice.law, Budget(total=2e15), DEMAND))
    narrow, asked = Limits(max_tokens=2e8, max_size=1e4), replace(DEMAND, prompt_tokens=90)
    agree(seen.states[2], plan_budget(choice.law, Budget(total=1e14), asked, limits=narrow))
    assert seen.states[0]["bands"] is None


@pytest.mark.parametrize("law", LAWS)
def test_two_budgets_plan_as_the_command_does(
    law: str, choices: dict[str, LawChoice], tmp_path: Path
) -> None:
    choice = choices[law]
    budget, demand = Budget(train=1e13, inference=1e8), Demand()
    given = plan_budget(choice.law, budget, demand)
    seen = visit(
        planner_page(given, PlannerInputs(choice, FormulaCost(), Limits())),
        tmp_path,
        [{}, {"hash": "train_budget=4e12&inference_budget=2e9&tokens=8&max_k=30"}],
    )
    assert seen.problems == []
    agree(seen.states[0], given)
    other = Budget(train=4e12, inference=2e9)
    agree(
        seen.states[1],
        plan_budget(choice.law, other, Demand(1, 8), limits=Limits(max_k=30)),
    )


def test_a_list_of_sizes_stays(inputs: PlannerInputs, tmp_path: Path) -> None:
    """Limits that no slider moves hold wherever the others go."""
    law, limits = inputs.choice.law, Limits(allowed_sizes=(3e4, 1e5, 3e5), min_size=4e4)
    given = plan_budget(law, Budget(total=1e13), DEMAND, limits=limits)
    page = planner_page(given, replace(inputs, limits=limits, resamples=None))
    seen = visit(page, tmp_path, [{}, {"hash": "budget=1e15"}, {"hash": "max_size=1e4"}])
    agree(seen.states[0], given)
    agree(seen.states[1], plan_budget(law, Budget(total=1e15), DEMAND, limits=limits))
    assert "the limits allow 40,000 to 10,000 parameters" in seen.states[2]["refused"]
    assert "Only models of 30,000, 100,000, 300,000 parameters" in seen.text("held")
    assert "--min-size 4e4 --size 3e4 --size 1e5 --size 3e5" in seen.text("command")


@pytest.fixture(scope="module")
def machine(planted: HardwareProfile) -> CalibratedCost:
    costs = MachineCosts(planted, "float32")
    return CalibratedCost(costs, costs)


def test_measured_prices_travel_whole(
    inputs: PlannerInputs, machine: CostModel, tmp_path: Path
) -> None:
    """T and P are what the prices were taken for, and cannot be moved."""
    law, budget = inputs.choice.law, Budget(total=1e4)
    demand = Demand(1e6, 16, 40)
    given = plan_budget(law, budget, demand, machine)
    steps: Steps = [
        {},
        {"hash": "budget=3e3&questions=40000"},
        {"hash": "max_latency=0.05&max_memory=2e7"},
        {"hash": "tokens=99"},
    ]
    page = planner_page(given, replace(inputs, costs=machine, resamples=None))
    seen = visit(page, tmp_path, steps)
    assert seen.problems == []
    start, fewer, limited, refused = seen.states
    agree(start, given)
    agree(fewer, plan_budget(law, Budget(total=3e3), replace(demand, questions=4e4), machine))
    limits = Limits(max_latency_seconds=0.05, max_memory_bytes=2e7)
    agree(limited, plan_budget(law, budget, demand, machine, limits))
    assert "Output tokens T is fixed: measured for this many" in refused["refused"]
    assert refused["t2"] == start["t2"]


def test_a_target_begins_at_its_least_cost(inputs: PlannerInputs, tmp_path: Path) -> None:
    found = plan_target(inputs.choice.law, 0.7, DEMAND)
    seen = visit(planner_page(found, replace(inputs, resamples=None)), tmp_path, [{}])
    assert seen.problems == []
    agree(seen.states[0], found)
    assert seen.states[0]["t2"]["pass_at_k"] == pytest.approx(0.7, rel=1e-8)
    assert "least cost of a pass@k of 0.7" in seen.text("held")
