"""Advice is given where it applies, says its number, and is silent where it does not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from t2engine.costs.formula import Demand
from t2engine.laws.law import FitReport
from t2engine.plan.advice import (
    CORPUS_TOKENS,
    FAR,
    Measured,
    advise,
    beyond_the_data,
    data_wall,
    fine_tuning,
    many_samples,
    moves_most,
)
from t2engine.plan.limits import Limits
from t2engine.plan.optimizer import PlanReport, plan_budget
from t2engine.plan.problem import Budget
from t2engine.plan.sensitivity import Assumptions, Move, sensitivities
from t2engine.plan.words import count, times
from tests.laws.planted import TRUTH

WIDE = FitReport(
    True, 0.0, 0.0, 9, 9, (), 1, 1, N_range=(1e3, 1e9), D_range=(1e5, 1e13), k_range=(1, 1e6)
)
LAW = replace(TRUTH, fit=WIDE)
MEASURED = Measured(np.array([1e3, 1e9, 1e5]), np.array([1e13, 1e5, 1e7]))


@pytest.fixture(scope="module")
def report() -> PlanReport:
    return plan_budget(LAW, Budget(total=1e15), Demand(1e5, 16))


def narrow(report: PlanReport, N: float, D: float, k: float) -> Assumptions:
    """The law, as if fitted on ranges whose ends the plan passes by these factors."""
    plan = report.t2
    fit = replace(
        WIDE,
        N_range=(plan.N / 1e3 / N, plan.N / N),
        D_range=(plan.D / 1e3 / D, plan.D / D),
        k_range=(1.0, plan.k / k),
    )
    return Assumptions(replace(LAW, fit=fit))


def test_a_plan_inside_the_data_is_no_extrapolation(report: PlanReport) -> None:
    given = Assumptions(LAW)
    assert beyond_the_data(report, given, MEASURED) is None
    assert beyond_the_data(report, given, None) is None
    topics = [x.topic for x in advise(report, given, MEASURED, sensitivities(report, given))]
    assert "beyond the data" not in topics
    assert "data wall" not in topics
    assert beyond_the_data(report, Assumptions(TRUTH), MEASURED) is None  # nothing is known


def test_what_leaves_the_data_is_said_with_its_factor(report: PlanReport) -> None:
    found = beyond_the_data(report, narrow(report, 0.5, 40.0, 2.5), None)
    assert found is not None
    assert found.text.startswith("D 40x, k 2.5x above the largest: ")
    below = beyond_the_data(report, narrow(report, 1e-4, 0.5, 0.5), None)
    assert below is not None
    assert "N 10x below the smallest" in below.text


def test_the_checkpoint_to_measure_halves_the_reach(report: PlanReport) -> None:
    """At the middle, in logarithms: its distance to both ends is half of the whole."""
    plan = report.t2
    measured = Measured(np.array([plan.N / 9, plan.N * 50]), np.array([plan.D / 100, plan.D / 99]))
    given = narrow(report, 0.9, 100.0, 4.0)
    found = beyond_the_data(report, given, measured)
    assert found is not None
    half = f"N {count(plan.N / 3)}, D {count(plan.D / 10)}"
    assert f"Measure next: {half} with {count(math.ceil(plan.k / 2))} samples" in found.text
    # 6 N D of a third and a tenth
    assert f"{1 / 30:.1%} of the plan's training cost" in found.text


def test_where_only_samples_are_missing_no_model_is_trained(report: PlanReport) -> None:
    plan = report.t2
    given = narrow(report, 0.5, 0.5, 3.0)
    measured = Measured(np.array([plan.N]), np.array([plan.D]))
    found = beyond_the_data(report, given, measured)
    assert found is not None
    assert "Measure it with" in found.text
    assert "Measure next" not in found.text


def test_the_data_wall(report: PlanReport) -> None:
    given = Assumptions(LAW)
    assert data_wall(report, given, ()) is None
    many = replace(report, t2=replace(report.t2, D=2 * CORPUS_TOKENS))
    found = data_wall(many, given, ())
    assert found is not None
    assert found.text.startswith("D is 2x FineWeb")
    more = data_wall(replace(report, t2=replace(report.t2, D=1.5e15)), given, ())
    assert more is not None
    assert more.text.startswith("D is 5x public human text")
    # a limit of one's own goes before what the public has
    assert data_wall(many, Assumptions(LAW, limits=Limits(max_tokens=1e15)), ()) is None


def test_a_wall_that_binds_says_what_it_costs(report: PlanReport) -> None:
    limits = Limits(max_tokens=report.t2.D / 5)
    held = plan_budget(LAW, Budget(total=1e15), Demand(1e5, 16), limits=limits)
    given = Assumptions(LAW, limits=limits)
    found = data_wall(held, given, sensitivities(held, given))
    assert found is not None
    assert found.text.startswith("without limits 5x the tokens")
    assert f"{report.t2.pass_at_k:.4g} in place of {held.t2.pass_at_k:.4g}" in found.text


def test_a_task_without_spread_gains_all_and_one_of_two_kinds_nothing(report: PlanReport) -> None:
    """A concentrated p is solved by 100 samples; p that are 0 or 1 are not solved by more."""
    alike = replace(TRUTH, spread=1e6, kappa=0.0)
    apart = replace(TRUTH, spread=1e-6, kappa=0.0)
    at = Measured(np.array([1e6]), np.array([1e8]))
    gains, nothing = (many_samples(report, Assumptions(law), at) for law in (alike, apart))
    assert gains is not None
    assert nothing is not None
    assert "solve 100% of what one misses" in gains.text
    assert "solve 0% of what one misses" in nothing.text
    assert "weigh a larger N" in nothing.text
    assert "weigh" not in gains.text
    assert "14.6" in gains.evidence


def test_fine_tuning_is_said_from_a_stated_factor_on(report: PlanReport) -> None:
    base = report.compute_optimal
    for ratio in (0.99 * FAR, 1.01 * FAR):
        plan = replace(report.t2, N=base.N, D=base.D * ratio)
        found = fine_tuning(replace(report, t2=plan))
        assert (found is not None) == (ratio > FAR)
        assert found is None or f"{ratio:.3g}x" in found.text


def test_the_moves_shown_are_of_every_kind() -> None:
    assert moves_most(()) is None
    sizes = {"a": 9.0, "b": 8.0, "c": 7.0, "d": 2.0, "e": 1.5}
    kinds = dict(zip(sizes, ("assumption", "assumption", "law", "law", "parameter"), strict=True))
    moves = [Move(x, f, 1 / f, 1.0, 0.5, kinds[x]) for x, f in sizes.items()]
    found = moves_most(moves)
    assert found is not None
    assert found.text == "a -> N x9, D x0.111; c -> N x7, D x0.143; e -> N x1.5, D x0.667."
    same = moves_most(moves[:2])
    assert same is not None
    assert same.text.startswith("a -> N x9, D x0.111; b -> N x8")
    gone = moves_most([Move("budget /2", None, None, None, None)])
    assert gone is not None
    assert gone.text == "budget /2 -> nothing can be bought."
    edge = moves_most([Move("x", 1e-3, 2.0, 1.0, 0.5, at_edge=True)])
    assert edge is not None
    assert edge.text.endswith("or beyond.")
    assert math.isinf(Move("budget /2", None, None, None, None).size)


def test_words_have_three_digits() -> None:
    assert [times(x) for x in (0.00444, 2.98, 14_900, 6.27e8)] == [
        "0.00444",
        "2.98",
        "14,900",
        "6.27e+08",
    ]
