"""An audit against closed forms: the T2 optimum, the dual, balanced margins, Shapley values."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import permutations

import numpy as np
import pytest

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.formula import Demand, FormulaCost
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import build_profile
from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.approach2 import Approach2Law
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.draws import Resamples
from t2engine.plan.audit import NAMES, AuditReport, audit_plan, shapley
from t2engine.plan.audit_odds import audit_odds
from t2engine.plan.dual import plan_target
from t2engine.plan.limits import Limits
from t2engine.plan.optimizer import Plan, plan_budget
from t2engine.plan.problem import Budget
from tests.costs.synthetic import synthetic_measurements
from tests.plan.test_closed_form import law_with
from tests.plan.test_dual import one_budget_problem

COST = FormulaCost()
OF_THE_TABLE = Demand(questions=1e9 / 16, output_tokens=16)


@cache
def audited(seed: int) -> tuple[Approach1Law | Approach2Law, Demand, AuditReport]:
    """A plan some way off the best one of a random problem, and its audit."""
    law, total, demand = one_budget_problem(seed)
    best = plan_budget(law, Budget(total=total), demand).t2
    rng = np.random.default_rng(seed)
    N, D, k = (max(x * 10 ** rng.uniform(-1, 1), 1.0) for x in (best.N, best.D, best.k))
    return law, demand, audit_plan(law, N, D, k, demand)


def merit(law: Approach1Law | Approach2Law, plan: Plan) -> float:
    return float(law.merit(plan.N, plan.D, plan.k))


@pytest.mark.parametrize(
    ("tokens", "N", "k", "ratio"),
    [(1e9, 8.60399e9, 2755.7, 118.4), (1e12, 1.06314e9, 38.737, 2600)],
)
def test_the_compute_optimal_plan_gives_way_to_the_t2_optimum(
    tokens: float, N: float, k: float, ratio: float
) -> None:
    law, demand = law_with(1, 0.3), Demand(tokens / 16, 16)
    known = plan_budget(law, Budget(total=1e23), demand)
    own = known.compute_optimal
    found = audit_plan(law, own.N, own.D, own.k, demand)
    better, cheaper = found.best.better, found.best.cheaper
    assert (better.N, better.k) == pytest.approx((N, k), rel=2e-5)
    assert better.tokens_per_parameter == pytest.approx(ratio, rel=5e-4)
    assert better.total_cost == pytest.approx(1e23, rel=1e-9)
    least = plan_target(law, own.pass_at_k, demand).t2
    assert (cheaper.N, cheaper.D, cheaper.k) == pytest.approx((least.N, least.D, least.k), rel=1e-6)
    assert found.saving_share == pytest.approx(1 - least.total_cost / 1e23, rel=1e-7)
    assert found.saving_share > 0.1
    assert not found.is_best
    assert not found.is_within(0.1)
    assert found.is_within(0.9)


@pytest.mark.parametrize("seed", range(18))
def test_the_saving_is_that_of_the_dual(seed: int) -> None:
    law, demand, found = audited(seed)
    own = found.audited
    assert found.best.better.total_cost <= own.total_cost * (1 + 1e-9)
    assert merit(law, found.best.better) >= merit(law, own)
    assert merit(law, found.best.cheaper) >= merit(law, own) - 1e-9 * abs(merit(law, own))
    within = plan_budget(law, Budget(total=own.total_cost), demand).t2
    assert found.best.better.pass_at_k == pytest.approx(within.pass_at_k, rel=1e-9)
    if 1e-9 < own.pass_at_k < 1 - 1e-9:  # elsewhere log-odds are rounded
        least = plan_target(law, own.pass_at_k, demand)
        assert found.best.cheaper.total_cost == pytest.approx(least.budget.total, rel=1e-6)


@pytest.mark.parametrize("seed", range(18))
def test_the_best_plan_has_nothing_to_save(seed: int) -> None:
    law, total, demand = one_budget_problem(seed)
    best = plan_budget(law, Budget(total=total), demand).t2
    found = audit_plan(law, best.N, best.D, best.k, demand)
    assert found.is_best
    assert 0 <= found.saving_share < 1e-6
    assert 0 <= found.gain < 1e-9
    assert found.is_within(0.0)
    assert audit_odds(found, Resamples((law,), "one law")) is None


@pytest.mark.parametrize("seed", range(18))
def test_parts_sum_to_the_whole_and_none_is_negative(seed: int) -> None:
    _, demand, found = audited(seed)
    for whole, parts in ((found.gain, found.gain_by), (found.saving, found.saving_by)):
        assert set(parts) == set(NAMES)
        assert sum(parts.values()) == pytest.approx(whole, rel=1e-9)
        assert min(parts.values()) >= -1e-12 * whole
    plans = (found.audited, found.best.better, found.best.cheaper)
    for plan, spent in zip(plans, found.parts, strict=True):
        assert spent.training == plan.train_cost
        assert spent.prompts == pytest.approx(
            2 * plan.N * demand.questions * demand.prompt_tokens, rel=1e-6
        )
        whole = spent.training + spent.prompts + spent.samples
        assert whole == pytest.approx(plan.total_cost, rel=1e-12)


@pytest.mark.parametrize("seed", range(18))
def test_moving_two_does_no_more_than_moving_three(seed: int) -> None:
    law, _, found = audited(seed)
    close = 1e-9 * abs(merit(law, found.audited))
    for name, outcome in found.keeping.items():
        for plan in (outcome.better, outcome.cheaper):
            assert getattr(plan, name) == getattr(found.audited, name)
            assert plan.total_cost <= found.audited.total_cost * (1 + 1e-9)
        assert merit(law, outcome.better) <= merit(law, found.best.better)
        assert merit(law, outcome.cheaper) >= merit(law, found.audited) - close
        assert outcome.cheaper.total_cost >= found.best.cheaper.total_cost


@pytest.mark.parametrize("seed", [x for x in range(24) if x % 3])
def test_the_last_flop_buys_as_much_of_both_that_move(seed: int) -> None:
    """Approach 1: marginal gains over marginal costs of the two are equal, the third is kept."""
    law, demand, found = audited(seed)
    assert isinstance(law, Approach1Law)
    balanced = 0
    for name, outcome in found.keeping.items():
        for at in (outcome.better, outcome.cheaper):
            if at == found.audited or at.k < 1 + 1e-6 or min(at.N, at.D) < 2:
                continue
            drawn = 2 * demand.questions * demand.output_tokens * at.N * at.k
            margins = {
                "N": law.alpha * law.A * at.N**-law.alpha / at.total_cost,
                "D": law.beta * law.B * at.D**-law.beta / at.train_cost,
                "k": law.gamma * law.G * at.k**-law.gamma / drawn,
            }
            one, other = (x for moved, x in margins.items() if moved != name)
            assert one == pytest.approx(other, rel=1e-3)
            balanced += 1
    assert balanced >= 2


@pytest.mark.parametrize("seed", range(0, 18, 3))
def test_no_point_of_a_grid_does_better_with_one_kept(seed: int) -> None:
    law, demand, found = audited(seed)
    own, steps = found.audited, np.geomspace(1e-3, 1e3, 601)
    total = own.total_cost
    N = own.N * steps
    k = np.maximum(own.k * steps, 1.0)
    points = {
        "N": (own.N, COST.tokens_for(own.N, total - COST.serve(own.N, k, demand)), k),
        "k": (N, COST.tokens_for(N, total - COST.serve(N, own.k, demand)), own.k),
        "D": (N, own.D, COST.samples_for(N, total - COST.train(N, own.D), demand)),
    }
    for name, (size, tokens, samples) in points.items():
        bought = (np.asarray(size) >= 1) & (np.asarray(tokens) >= 1) & (np.asarray(samples) >= 1)
        best = law.merit(size, np.maximum(tokens, 1.0), np.maximum(samples, 1.0))[bought].max()
        assert merit(law, found.keeping[name].better) >= best - 1e-9 * abs(best)


def test_shares_are_the_average_over_orders() -> None:
    """v of sets that may move: 0 for one alone, and what is given for two and three."""
    without, whole = {"N": 1.0, "D": 2.5, "k": 4.0}, 5.0

    def value(free: frozenset[str]) -> float:
        if len(free) < 2:
            return 0.0
        return whole if len(free) == 3 else without[next(iter(set(NAMES) - free))]

    orders = list(permutations(NAMES))
    for name in NAMES:
        steps = []
        for order in orders:
            before = frozenset(order[: order.index(name)])
            steps.append(value(before | {name}) - value(before))
        assert shapley(without, whole)[name] == pytest.approx(sum(steps) / len(orders), rel=1e-12)


@pytest.mark.parametrize("seed", range(1, 5))
def test_more_budget_never_loses(seed: int) -> None:
    law, demand, found = audited(seed)
    own, last = found.audited, found
    for factor in (1.5, 3.0, 10.0):
        more = audit_plan(law, own.N, own.D * factor, own.k, demand)
        assert more.audited.total_cost > last.audited.total_cost
        assert merit(law, more.best.better) >= merit(law, last.best.better)
        assert more.best.cheaper.total_cost >= last.best.cheaper.total_cost * (1 - 1e-9)
        last = more


def test_measured_costs_are_split_too() -> None:
    costs = MachineCosts(build_profile(synthetic_measurements(seed=0, noise=0.0)))
    law, cost = law_with(1, 0.3), CalibratedCost(costs, costs)
    found = audit_plan(law, 3e6, 1e7, 64, Demand(1e4, 16, 200), cost)
    assert (found.unit, found.measured) == ("seconds", True)
    assert found.saving_share > 0.01
    assert sum(found.saving_by.values()) == pytest.approx(found.saving, rel=1e-9)
    least = plan_target(law, found.audited.pass_at_k, Demand(1e4, 16, 200), cost)
    assert found.best.cheaper.total_cost == pytest.approx(least.t2.total_cost, rel=1e-6)
    own = found.parts[0]
    assert own.prompts > 0
    assert own.training + own.prompts + own.samples == pytest.approx(found.audited.total_cost)
    bare = audit_plan(law, 3e6, 1e7, 64, Demand(1e4, 16), cost)
    assert bare.parts[0].samples == pytest.approx(own.samples)
    assert bare.parts[0].prompts == 0


def test_where_pass_at_k_has_rounded_to_1_the_saving_is_still_found() -> None:
    """There plans are compared by the law's merit, which goes on rising."""
    law = Approach2Law(ChinchillaLaw(0.6, 60.0, 0.35, 600.0, 0.42), 2.0, 1.6, 1.0, 1.2, -0.1)
    found = audit_plan(law, 1e8, 1e11, 1e8)
    assert found.audited.pass_at_k == 1
    assert 0.01 < found.saving_share < 1
    assert merit(law, found.best.cheaper) == pytest.approx(merit(law, found.audited), rel=1e-8)


def test_limits_hold_for_every_plan_it_is_compared_with() -> None:
    law, demand = law_with(1, 0.3), OF_THE_TABLE
    own = plan_budget(law, Budget(total=1e23), demand).compute_optimal
    free = audit_plan(law, own.N, own.D, own.k, demand)
    limits = Limits(
        max_k=own.k * 1.1, max_tokens=own.D * 1.3, min_size=own.N / 2, max_size=own.N * 2
    )
    held = audit_plan(law, own.N, own.D, own.k, demand, limits=limits)
    assert 0 < held.saving < free.saving
    for outcome in (held.best, *held.keeping.values()):
        for plan in (outcome.better, outcome.cheaper):
            assert plan.k <= own.k * 1.1 * (1 + 1e-8)
            assert plan.D <= own.D * 1.3 * (1 + 1e-8)
            assert own.N / 2 * (1 - 1e-8) <= plan.N <= own.N * 2


def test_odds_count_the_laws_that_agree() -> None:
    """A law of large G and slow gamma would rather sample: by it the plan with more k is better."""
    law, demand = law_with(1, 0.3), OF_THE_TABLE
    best = plan_budget(law, Budget(total=1e23), demand).t2
    k = best.k / 4
    D = float(COST.tokens_for(best.N, 1e23 - COST.serve(best.N, k, demand)))
    found = audit_plan(law, best.N, D, k, demand)
    odds = audit_odds(found, Resamples((law,) * 4, "4 of the same"))
    assert odds is not None
    assert odds.share_better == 1
    assert odds.gain == pytest.approx((found.gain, found.gain))
    assert odds.cheaper_change == pytest.approx((0, 0), abs=1e-9)
    rather_trains = replace(law, G=1e-6)
    mixed = audit_odds(found, Resamples((law, law, law, rather_trains), "a mixture"))
    assert mixed is not None
    assert mixed.share_better == 0.75
    assert mixed.gain[0] < 0 < mixed.gain[1]
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 2"):
        audit_odds(found, Resamples((law,), ""), level=2)


@pytest.mark.parametrize(
    ("plan", "limits", "message"),
    [
        ((0.5, 1e9, 4), Limits(), "N, its parameters, must be at least 1 and finite, got 0.5"),
        ((1e8, float("nan"), 4), Limits(), "D, its training tokens, must be .* got nan"),
        ((1e8, 1e9, float("inf")), Limits(), "k, its samples, must be .* got inf"),
        ((1e8, 1e9, 4), Limits(max_k=3), "its k = 4 is above 3: loosen the limit"),
        ((1e8, 1e9, 4), Limits(max_tokens=1e8), r"its D = 1e\+09 is above 1e\+08"),
        ((1e8, 1e9, 4), Limits(min_size=1e9), r"its N = 1e\+08 is below 1e\+09"),
        ((1e8, 1e9, 4), Limits(max_size=1e7), r"its N = 1e\+08 is above 1e\+07"),
        ((1e8, 1e9, 4), Limits(allowed_sizes=(1e8,)), "leave allowed_sizes out"),
    ],
)
def test_plans_that_cannot_be_audited_are_refused(
    plan: tuple[float, float, float], limits: Limits, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        audit_plan(law_with(1, 0.3), *plan, limits=limits)


def test_a_tolerance_is_a_share() -> None:
    _, _, found = audited(1)
    for tolerance in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="tolerance must be a share of the cost"):
            found.is_within(tolerance)
