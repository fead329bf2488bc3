"""The least cost at which pass@k reaches a target, over free N, D and k.

    minimise  train(N, D) + serve(N, k)    subject to  pass@k(N, D, k) >= target

The best pass@k within a budget rises with the budget, so the least cost is the budget at which it
crosses the target: bracketed in powers of a hundred, then found by false position on the log-odds
of pass@k over ln C. Every step is a global search of the problem with that budget, so no local
optimum is followed; quick searches find about where it crosses, full ones where. Where pass@k is
within 1e-12 of 1 its own rounding is what limits the cost.

Units:  N parameters, D training tokens, k samples per question, costs in the cost model's unit.
Raises: ValueError for a target outside (0, 1), and for one that no budget reaches, with the best
        that one does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from t2engine.costs.formula import CostModel, Demand, FormulaCost
from t2engine.laws.pass_law import PassLaw
from t2engine.plan.limits import Limits
from t2engine.plan.optimizer import PlanReport, best_plans, plan_budget, problem_of
from t2engine.plan.problem import Budget, BudgetTooSmallError
from t2engine.plan.rules import SelectionRule
from t2engine.plan.search import FULL, QUICK, Effort

START_N, START_D = 1e6, 1e7  # where no range of observations says where to begin
STEP = math.log(100.0)  # of ln C, while looking for a bracket: the widest,
GROWTH = 8  # and how much wider than the one before it
REACH = 1e24  # the bracket ends this many times from where it began
TOLERANCE = 1e-10  # of ln C
ROUGH = 1e-4  # of ln C, by quick searches
MARGIN = 1e-3  # of ln C, the first step of full searches from there
SURE = 1e-300, 1 - 1e-16  # pass@k is held within, so that its log-odds are finite


class UnreachableTargetError(ValueError):
    """No budget reaches the target."""


def plan_target(
    law: PassLaw,
    target: float,
    demand: Demand | None = None,
    cost: CostModel | None = None,
    limits: Limits | None = None,
    rule: SelectionRule | None = None,
) -> PlanReport:
    """The plan of least cost whose predicted pass@k is at least `target`; its budget is that cost.

    The compute-optimal plan beside it is the one of the same cost; `saving` is what is saved of
    the cost at which compute-optimal training reaches the target.
    """
    if not 0 < target < 1:
        raise ValueError(f"target must be a pass@k above 0 and below 1, got {target:g}")
    demand, cost = demand or Demand(), cost or FormulaCost()
    limits, rule = limits or Limits(), rule or SelectionRule()
    least = least_cost(law, target, demand, cost, limits, rule)
    report = plan_budget(law, Budget(total=least), demand, cost, limits, rule)
    return replace(report, target=target)


def least_cost(
    law: PassLaw,
    target: float,
    demand: Demand,
    cost: CostModel,
    limits: Limits,
    rule: SelectionRule,
) -> float:
    def shortfall(effort: Effort) -> Callable[[float], float]:
        """How far the best plan of a budget stays below the target, in log-odds."""

        @cache
        def short(log_C: float) -> float:
            problem = problem_of(law, cost, Budget(total=math.exp(log_C)), demand, limits, rule)
            try:
                best = best_plans(problem, effort)[1][0]
            except BudgetTooSmallError:
                return math.inf
            return log_odds(target) - log_odds(best.pass_at_k)

        return short

    roughly, short = shortfall(QUICK), shortfall(FULL)
    start = math.log(starting_cost(law, demand, cost))
    about = crossing(roughly, *bracket(roughly, start, STEP, law, target, cost), ROUGH)
    return math.exp(crossing(short, *bracket(short, about, MARGIN, law, target, cost)))


def starting_cost(law: PassLaw, demand: Demand, cost: CostModel) -> float:
    """Of a model in the middle of those observed, sampled once."""
    N, D = START_N, START_D
    if law.fit is not None:
        N, D = (math.sqrt(low * high) for low, high in (law.fit.N_range, law.fit.D_range))
    return float(cost.train(N, D) + cost.serve(N, 1.0, demand))


def bracket(
    short: Callable[[float], float],
    start: float,
    step: float,
    law: PassLaw,
    target: float,
    cost: CostModel,
) -> tuple[float, float]:
    """ln of a budget below the target and of one that reaches it, the last of some steps apart.

    Steps from `start` on, the first as given, each GROWTH times the one before it and at most STEP.
    """
    at, end = start, start + math.log(REACH)
    if short(at) > 0:
        while at < end:
            at += step
            if short(at) <= 0:
                return at - step, at
            step = min(GROWTH * step, STEP)
        best = 1 / (1 + math.exp(short(at) - log_odds(target)))
        raise UnreachableTargetError(
            f"{law.name} reaches no pass@k of {target:g}: its best is {best:.4g}, at "
            f"{math.exp(at):.3g} {cost.unit}; lower the target"
        )
    while short(at - step) <= 0:  # ends where a budget buys nothing
        at -= step
        step = min(GROWTH * step, STEP)
    return at - step, at


def crossing(
    short: Callable[[float], float], low: float, high: float, tolerance: float = TOLERANCE
) -> float:
    """The least ln C, to the tolerance, at which a falling function is not above 0.

    False position; the value of an end that stayed twice is halved (the Illinois rule). The
    bracket is halved instead while its lower end buys nothing.
    """
    at_low, at_high = short(low), short(high)
    stayed = ""
    while high - low > tolerance:
        middle = (low + high) / 2
        if math.isfinite(at_low) and at_low > at_high:
            guess = (low * at_high - high * at_low) / (at_high - at_low)
            # kept off the ends, or the bracket would close from one side alone
            middle = min(max(guess, low + tolerance / 2), high - tolerance / 2)
        value = short(middle)
        if value > 0:
            at_high = at_high / 2 if stayed == "high" else at_high
            low, at_low, stayed = middle, value, "high"
        else:
            at_low = at_low / 2 if stayed == "low" else at_low
            high, at_high, stayed = middle, value, "low"
        if value == 0:
            break
    return high


def log_odds(probability: float) -> float:
    p = min(max(probability, SURE[0]), SURE[1])
    return math.log(p) - math.log1p(-p)
