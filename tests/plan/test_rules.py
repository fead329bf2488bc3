"""Selection rules in the plan: a verifier, and sampling that stops at the first accepted answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.formula import Demand, FormulaCost
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import build_profile
from t2engine.laws.approach2 import Approach2Law
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.draws import Resamples
from t2engine.laws.gamma import Array
from t2engine.laws.verified import VerifiedLaw
from t2engine.laws.verifier import Verifier
from t2engine.plan.bands import plan_bands
from t2engine.plan.baseline import compute_optimal, path_tokens
from t2engine.plan.dual import plan_target
from t2engine.plan.limits import Limits
from t2engine.plan.optimizer import best_plans, plan_budget, problem_of
from t2engine.plan.problem import Budget
from t2engine.plan.rules import ENDLESS, SelectionRule, rule_for
from tests.costs.synthetic import synthetic_measurements
from tests.plan.test_closed_form import law_with
from tests.plan.test_search import random_approach2

COST = FormulaCost()
STOP = SelectionRule(stop_at_first=True)
JUDGED = SelectionRule(Verifier(0.9, 0.05))
BOTH = SelectionRule(Verifier(0.9, 0.05), stop_at_first=True)
SURE = SelectionRule(Verifier(0.8, 0.0), stop_at_first=True)
RULES = {"stop": STOP, "verifier": JUDGED, "both": BOTH, "never wrong": SURE}
TWO = Approach2Law(ChinchillaLaw(0.6, 60.0, 0.35, 600.0, 0.42), 2.0, 1.6, 1.0, 1.2, -0.1)
TOTAL, SPLIT = Budget(total=1e14), Budget(train=1e13, inference=1e8)


def outcomes(
    law: Approach2Law, rule: SelectionRule, N: Array, D: Array, k: Array
) -> tuple[Array, Array]:
    """Success and the samples paid for, by the exact means and not by the planner's."""
    a, b = np.broadcast_arrays(*law.spread_at(N, D), k)[:2]
    found = rule.verifier.beta(a, b, k)
    return found.success, found.samples if rule.stop_at_first else k * np.ones_like(a)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", range(2))  # one budget, and two
def test_no_affordable_point_of_a_grid_is_better(seed: int, name: str) -> None:
    """Over N, D and k, each by itself: what can be paid for does no better than the plan."""
    law, budget, demand = random_approach2(seed)
    rule = RULES[name]
    best = best_plans(problem_of(law, COST, budget, demand, rule=rule))[1][0]
    near = np.concatenate([np.geomspace(1 / 20, 20, 9), np.geomspace(0.9, 1.1, 5)])
    N, D = best.N * near[:, None, None], best.D * near[:, None]
    k = np.clip(best.k * near, 1, ENDLESS)
    success, drawn = outcomes(law, rule, N, D, k)
    train, serve = COST.train(N, D), COST.serve(N, drawn, demand)
    if budget.total is None:
        fits = (train <= budget.train) & (serve <= budget.inference)
    else:
        fits = train + serve <= budget.total
    fits &= (N >= 1) & (D >= 1)
    assert fits.any()
    assert best.pass_at_k >= success[fits].max() * (1 - 1e-7)
    assert best.pass_at_k == pytest.approx(
        float(outcomes(law, rule, *map(np.array, (best.N, best.D, best.k)))[0]), rel=1e-7
    )


@pytest.mark.parametrize("budget", [TOTAL, SPLIT], ids=str)
@pytest.mark.parametrize("verifier", [Verifier(), Verifier(0.8, 0.0), Verifier(0.9, 0.05)], ids=str)
def test_stopping_early_never_does_worse(budget: Budget, verifier: Verifier) -> None:
    demand = Demand() if budget.is_split else Demand(1e5, 16)
    merits = []
    for stop in (False, True):
        problem = problem_of(TWO, COST, budget, demand, rule=SelectionRule(verifier, stop))
        best = best_plans(problem)[1][0]
        merits.append(float(problem.law.merit(best.N, best.D, best.k)))
        assert best.expected_samples <= best.k * (1 + 1e-9)
        assert (best.expected_samples == best.k) or stop
    assert merits[1] >= merits[0] * (1 - 1e-8)


def test_the_budget_is_what_is_expected_to_be_spent() -> None:
    report = plan_budget(TWO, TOTAL, Demand(1e5, 16), rule=STOP)
    for plan in (report.t2, report.compute_optimal):
        assert plan.total_cost == pytest.approx(1e14, rel=1e-6)
        served = 1e5 * 2 * plan.N * 16 * plan.expected_samples
        assert plan.inference_cost == pytest.approx(served, rel=1e-9)
        drawn = VerifiedLaw(TWO).expected_samples(plan.N, plan.D, plan.k)
        assert plan.expected_samples == pytest.approx(float(drawn), rel=1e-12)
    split = plan_budget(TWO, Budget(train=1e13, inference=1e6), rule=STOP).t2
    assert 2 * split.N * split.expected_samples == pytest.approx(1e6, rel=1e-6)
    assert split.k > 1.2 * split.expected_samples


def test_a_perfect_verifier_that_does_not_stop_is_no_rule() -> None:
    rule = SelectionRule(Verifier(1.0, 0.0))
    assert rule.is_plain
    with_rule = plan_budget(TWO, TOTAL, Demand(1e5, 16), rule=rule)
    assert with_rule == plan_budget(TWO, TOTAL, Demand(1e5, 16))


def test_samples_that_add_nothing_are_not_bought() -> None:
    """They go to training with one budget; with two they stay unspent."""
    report = plan_budget(TWO, Budget(train=1e13, inference=1e11), rule=JUDGED)
    enough = VerifiedLaw(TWO, JUDGED.verifier).enough_samples
    for plan in (report.t2, report.compute_optimal):
        assert plan.k == pytest.approx(enough)
        assert any("of the inference budget stays unspent" in words for words in plan.warnings)
    assert any("further samples add nothing" in words for words in report.t2.warnings)
    walled = Limits(max_tokens=1e6, max_size=1e6)
    plan = plan_budget(TWO, Budget(total=1e18), Demand(1e5, 16), limits=walled, rule=JUDGED).t2
    assert plan.k == pytest.approx(enough)
    assert any("of the budget stays unspent" in words for words in plan.warnings)


def test_without_end_is_said_where_the_budget_outlasts_every_answer() -> None:
    report = plan_budget(TWO, Budget(train=1e16, inference=1e13), rule=STOP)
    assert report.t2.k == ENDLESS
    assert any("sampling goes on until an answer is accepted" in x for x in report.t2.warnings)
    assert any("of the inference budget stays unspent" in x for x in report.t2.warnings)
    held = plan_budget(TWO, Budget(train=1e16, inference=1e13), limits=Limits(max_k=50), rule=STOP)
    assert held.t2.k == 50
    assert any("the limit on samples holds k at 50" in words for words in held.t2.warnings)
    assert not any("until an answer" in words for words in held.t2.warnings)


@pytest.mark.parametrize("rule", [STOP, BOTH], ids=["stop", "both"])
def test_data_walls_leave_the_rest_to_samples(rule: SelectionRule) -> None:
    free = best_plans(problem_of(TWO, COST, TOTAL, Demand(1e5, 16), rule=STOP))[1][0]
    limits = Limits(max_tokens=free.D / 4)
    problem = problem_of(TWO, COST, TOTAL, Demand(1e5, 16), limits, rule)
    best = best_plans(problem)[1][0]
    assert pytest.approx(free.D / 4, rel=1e-6) == best.D
    if rule is STOP:
        assert best.total_cost == pytest.approx(1e14, rel=1e-6)
    else:  # as good as all that samples can give
        assert 0.8 * problem.useful_samples < best.k <= problem.useful_samples


@pytest.mark.parametrize("rule", [STOP, JUDGED], ids=["stop", "verifier"])
def test_the_compute_optimal_plan_has_the_same_rule(rule: SelectionRule) -> None:
    demand = Demand(1e5, 16)
    problem = problem_of(TWO, COST, TOTAL, demand, rule=rule)
    found = compute_optimal(problem)
    N = found.N * np.geomspace(0.2, 5, 21)
    D = path_tokens(problem, N)
    k = np.geomspace(1, 1e4, 60)[:, None]
    success, drawn = outcomes(TWO, rule, N, D, k)
    fits = COST.train(N, D) + COST.serve(N, drawn, demand) <= 1e14
    best = float(problem.law.pass_at_k(found.N, found.D, found.k))
    assert success[fits].max() * (1 - 1e-7) <= best <= success[fits].max() * 1.05
    report = plan_budget(TWO, TOTAL, demand, rule=rule)
    assert report.compute_optimal.pass_at_k == best
    assert report.t2.pass_at_k >= best


@pytest.mark.parametrize("rule", [STOP, JUDGED], ids=["stop", "verifier"])
def test_a_target_inverts_the_plan(rule: SelectionRule) -> None:
    demand = Demand(1e5, 16)
    best = best_plans(problem_of(TWO, COST, Budget(total=1e12), demand, rule=rule))[1][0]
    found = plan_target(TWO, best.pass_at_k, demand, rule=rule)
    assert found.budget.total == pytest.approx(1e12, rel=1e-5)
    assert found.rule == rule
    without = plan_target(TWO, best.pass_at_k, demand).t2.total_cost
    assert (found.t2.total_cost < 0.95 * without) == (rule is STOP)


@pytest.mark.parametrize("rule", [STOP, JUDGED], ids=["stop", "verifier"])
def test_bands_are_of_the_rule(rule: SelectionRule) -> None:
    report = plan_budget(TWO, SPLIT, rule=rule)
    same = plan_bands(report, Resamples((TWO,) * 3, "3 times the same"))
    for name in ("N", "D", "k", "pass_at_k"):
        value = getattr(report.t2, name)
        assert getattr(same, name) == pytest.approx((value, value), rel=1e-3)
    others = tuple(replace(TWO, theta0=TWO.theta0 + x) for x in (-0.2, 0.0, 0.2))
    low, high = plan_bands(report, Resamples(others, ""), level=0.999).pass_at_k
    best = report.t2
    drawn = [float(VerifiedLaw(x, rule.verifier).pass_at_k(best.N, best.D, best.k)) for x in others]
    assert (low, high) == pytest.approx((min(drawn), max(drawn)), rel=1e-3)
    assert low < best.pass_at_k < high


def test_measured_costs_price_the_expected_samples() -> None:
    costs = MachineCosts(build_profile(synthetic_measurements(seed=0, noise=0.0)))
    measured, demand = CalibratedCost(costs, costs), Demand(1e5, 16, 20)
    report = plan_budget(TWO, Budget(total=3600.0), demand, measured, rule=STOP)
    plan = report.t2
    assert plan.total_cost == pytest.approx(3600.0, rel=1e-5)
    served = float(measured.serve(plan.N, plan.expected_samples, demand))
    assert plan.inference_cost == pytest.approx(served, rel=1e-9)
    assert plan.expected_samples < plan.k
    assert any("cost of serving is that of the expected samples" in x for x in report.warnings)
    assert not plan_budget(TWO, TOTAL, Demand(1e5, 16), rule=STOP).warnings


def test_a_verifier_that_prefers_wrong_answers_is_said() -> None:
    rule = SelectionRule(Verifier(0.3, 0.5))
    report = plan_budget(TWO, SPLIT, rule=rule)
    assert any("no better than any sample" in words for words in report.warnings)
    one = float(TWO.pass_at_k(report.t2.N, report.t2.D, 1))
    assert report.t2.pass_at_k < one
    assert not plan_budget(TWO, SPLIT, rule=JUDGED).warnings


@pytest.mark.parametrize("rule", [STOP, JUDGED], ids=["stop", "verifier"])
def test_approach_1_is_refused(rule: SelectionRule) -> None:
    with pytest.raises(ValueError, match="approach1 has only its mean: plan with the law counts"):
        plan_budget(law_with(1, 0.3), SPLIT, rule=rule)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.9", "verifier must be two rates T,F, .* got '0.9'"),
        ("0.9,0.1,0.2", "must be two rates"),
        ("often,never", "must be two rates"),
        ("0,0.1", r"the true-positive rate must be above 0 and at most 1, got 0"),
        ("1.2,0.1", r"true_positive_rate must lie in \[0, 1\], got 1.2"),
        ("0.9,1", r"the false-positive rate must be at least 0 and below 1, got 1"),
        ("0.9,-0.1", r"false_positive_rate must lie in \[0, 1\], got -0.1"),
        ("nan,0.1", r"true_positive_rate must lie in \[0, 1\], got nan"),
    ],
)
def test_impossible_verifiers_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule_for(text, stop_at_first=False)


def test_rules_are_read_and_described() -> None:
    assert rule_for(None, stop_at_first=False).is_plain
    assert rule_for("0.9,0.05", stop_at_first=True) == BOTH
    assert rule_for("0.9, 0.05", stop_at_first=False) == JUDGED
    assert "accepts 0.9 of right and 0.05 of wrong ones; sampling stops" in BOTH.description
    assert STOP.success_name == "pass@k"
    assert BOTH.success_name == "verified success"
