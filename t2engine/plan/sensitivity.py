"""Which assumption moves a plan most: the plan again, with one assumption changed at a time.

    budget x2, /2                           questions x2, output tokens x2 (one budget)
    a prompt as long as an answer, or x2    training cost +25 %, serving cost +25 %
    the limits left out                     another law of the same observations
    a parameter of the law one standard error up, the others following as they usually do

Every plan is searched globally, with a coarser grid than a plan that is reported, and compared with
the plan under the assumptions as they are, searched alike. Budget, demand, costs and limits are the
report's unless they are what changes. A plan of a target is one of its least cost.

Units:  factors of N, D and k; pass@k itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from t2engine.costs.formula import CostModel, Demand, FormulaCost
from t2engine.costs.scaled import scaled_cost
from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.pass_law import PassLaw
from t2engine.laws.shifts import shifted_laws
from t2engine.plan.closed_form import solve_closed_form
from t2engine.plan.limits import Limits
from t2engine.plan.optimizer import SEARCH_REACH, PlanReport, problem_of
from t2engine.plan.problem import Budget, BudgetTooSmallError, Problem
from t2engine.plan.search import QUICK, search

DEARER = 1.25


@dataclass(frozen=True)
class Assumptions:
    """What a report was planned with and does not hold itself."""

    law: PassLaw
    cost: CostModel = field(default_factory=FormulaCost)
    limits: Limits = field(default_factory=Limits)
    refits: tuple[PassLaw, ...] = ()  # of the law, to other draws of models
    alternatives: tuple[PassLaw, ...] = ()  # other laws of the same observations


@dataclass(frozen=True)
class Move:
    """How the plan moves where `change` is made; None where nothing can be bought any more.

    `at_edge`: it ran into the end of the range searched, and would move further."""

    change: str
    N: float | None  # factors
    D: float | None
    k: float | None
    pass_at_k: float | None
    of: str = "assumption"  # or "law", "parameter"
    at_edge: bool = False

    @property
    def size(self) -> float:
        """The largest of the factors of N, D and k, in logarithms, whichever way it goes."""
        if self.N is None or self.D is None or self.k is None:
            return math.inf
        return max(abs(math.log(x)) for x in (self.N, self.D, self.k))


def sensitivities(report: PlanReport, given: Assumptions) -> tuple[Move, ...]:
    """The largest move first; none for a plan with a selection rule, whose searches take seconds
    each."""
    if not report.rule.is_plain:
        return ()

    def problem(
        law: PassLaw = given.law,
        cost: CostModel = given.cost,
        budget: Budget = report.budget,
        demand: Demand = report.demand,
        limits: Limits = given.limits,
    ) -> Problem:
        return problem_of(law, cost, budget, demand, limits)

    base = _best(problem(), report.t2.N)
    moves = []
    for change, changed, of in _changes(problem, report, given):
        try:
            N, D, k, success, at_edge = _best(changed, report.t2.N)
        except BudgetTooSmallError:
            moves.append(Move(change, None, None, None, None, of))
            continue
        factors = N / base[0], D / base[1], k / base[2]
        moves.append(Move(change, *factors, success, of, at_edge))
    return tuple(sorted(moves, key=lambda move: -move.size))


def _changes(
    problem: Callable[..., Problem], report: PlanReport, given: Assumptions
) -> list[tuple[str, Problem, str]]:
    budget, demand, cost = report.budget, report.demand, given.cost
    tokens, prompt = demand.output_tokens, demand.prompt_tokens
    changes = {
        "budget x2": problem(budget=budget.scaled(2.0)),
        "budget /2": problem(budget=budget.scaled(0.5)),
        "training cost +25 %": problem(cost=scaled_cost(cost, training=DEARER)),
        "serving cost +25 %": problem(cost=scaled_cost(cost, serving=DEARER)),
        "output tokens x2": problem(demand=replace(demand, output_tokens=2 * tokens)),
    }
    longer = "prompt tokens x2" if prompt else f"a prompt of {tokens:g} tokens"
    with_prompt = replace(demand, prompt_tokens=2 * prompt if prompt else tokens)
    changes[longer] = problem(demand=with_prompt)
    if not budget.is_split:
        changes["questions x2"] = problem(demand=replace(demand, questions=2 * demand.questions))
    if given.limits.any:
        changes["no limits"] = problem(limits=Limits())
    found = [(name, changed, "assumption") for name, changed in changes.items()]
    found += [(f"the law {x.name}", problem(law=x), "law") for x in given.alternatives]
    for name, law in shifted_laws(given.law, given.refits).items():
        found.append((f"law's {name} +1 standard error", problem(law=law), "parameter"))
    return found


def _best(problem: Problem, near_N: float) -> tuple[float, float, float, float, bool]:
    """N, D, k and pass@k of the best plan, and whether it lies on the edge of the search."""
    law, cost, limits = problem.law, problem.cost, problem.limits
    if isinstance(law, Approach1Law) and isinstance(cost, FormulaCost) and not limits.any:
        best = solve_closed_form(law, cost, problem.budget, problem.demand)
        N, D, k, at_edge = best.N, best.D, best.k, False
        if N < 1 or D < 1:
            raise BudgetTooSmallError(f"the plan comes out at N = {N:.2g}, D = {D:.2g}")
    else:
        around = limits.within(max(near_N / SEARCH_REACH, 1.0), near_N * SEARCH_REACH)
        found = search(problem, around, QUICK)[0]
        N, D, k, at_edge = found.N, found.D, found.k, bool(found.at_edge)
        at_edge &= not limits.any  # a limit is an end too, and is said
    return N, D, k, float(law.pass_at_k(N, D, k)), at_edge
