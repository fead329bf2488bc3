"""What a plan that somebody has would cost less, or do more, as the best plan there is.

    better     the highest pass@k at the cost of the audited plan
    cheaper    the least cost at the pass@k of the audited plan, by bisecting the budget of `better`

Both again with N, D or k kept as it is and the other two moved, so that it shows what each exchange
is worth alone. Moving one of them alone gains nothing: more of it leaves the budget, less loses. So
there are values v of seven sets of what may move, and what N gives of the whole is its average over
the six orders in which the three may be let go, its Shapley value

    phi_N = (v(ND) + v(Nk)) / 6 + (v(NDk) - v(Dk)) / 3,        phi_N + phi_D + phi_k = v(NDk)

which depends on no order and is never negative.

Units:  N parameters, D training tokens, k samples per question, costs in the cost model's unit.
Raises: ValueError for a plan with less than one parameter, token or sample, one that its own limits
        forbid, or one of which the law predicts nothing finite.
Source: Shapley values: L. S. Shapley, A value for n-person games, 1953.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

from t2engine.costs.formula import CostModel, Demand, FormulaCost
from t2engine.laws.pass_law import PassLaw
from t2engine.plan.dual import crossing
from t2engine.plan.limits import Limits
from t2engine.plan.moves import NAMES, Name, best_keeping
from t2engine.plan.optimizer import Plan, best_plans, plan_of
from t2engine.plan.problem import Budget, BudgetTooSmallError, Problem
from t2engine.plan.warnings import fit_warnings

FIRST_STEP = 0.05  # of ln C, while looking for a budget that is too small; then twice as far
NOTHING = 1e-6  # a saving below this share is none: what the searches leave undecided

Way = Callable[[Problem], Plan | None]  # the best plan of a budget, with some of N, D, k kept


@dataclass(frozen=True)
class CostParts:
    """The cost of a plan by what it is spent on. `prompts` is what serving costs more than with
    questions of no prompt; it is 0 where there are no prompt tokens."""

    training: float
    prompts: float
    samples: float


@dataclass(frozen=True)
class Outcome:
    """The best plans when some of N, D and k may move: at the same cost, and at the same pass@k.
    Either is the audited plan itself where nothing is better."""

    better: Plan
    cheaper: Plan


@dataclass(frozen=True)
class AuditReport:
    """The audited plan, the best ones when everything may move, and when one of N, D, k is kept.

    `gain` is of pass@k at the same cost; `saving` is in `unit` at the same pass@k.
    """

    audited: Plan
    best: Outcome
    keeping: dict[Name, Outcome]
    parts: tuple[CostParts, ...]  # of audited, best.better and best.cheaper
    demand: Demand
    unit: str
    costs: str
    measured: bool
    warnings: tuple[str, ...]

    @property
    def gain(self) -> float:
        return self.best.better.pass_at_k - self.audited.pass_at_k

    @property
    def saving(self) -> float:
        return self.audited.total_cost - self.best.cheaper.total_cost

    @property
    def saving_share(self) -> float:
        return self.saving / self.audited.total_cost

    @property
    def is_best(self) -> bool:
        """Whether nothing is left to save, as far as the searches can tell."""
        return self.saving_share <= NOTHING

    def is_within(self, tolerance: float) -> bool:
        """Whether no more than this share of the cost could be saved."""
        check_tolerance(tolerance)
        return self.saving_share <= max(tolerance, NOTHING)

    @property
    def gain_by(self) -> dict[Name, float]:
        """What moving N, D and k each adds of the gain; their sum is the gain."""
        own = self.audited.pass_at_k
        kept = {name: x.better.pass_at_k - own for name, x in self.keeping.items()}
        return shapley(kept, self.gain)

    @property
    def saving_by(self) -> dict[Name, float]:
        """The same of the saving."""
        own = self.audited.total_cost
        kept = {name: own - x.cheaper.total_cost for name, x in self.keeping.items()}
        return shapley(kept, self.saving)


def audit_plan(
    law: PassLaw,
    N: float,
    D: float,
    k: float,
    demand: Demand | None = None,
    cost: CostModel | None = None,
    limits: Limits | None = None,
) -> AuditReport:
    demand, cost, limits = demand or Demand(), cost or FormulaCost(), limits or Limits()
    _check(N, D, k, demand, cost, limits)
    total = float(cost.train(N, D) + cost.serve(N, k, demand))
    problem = Problem(law, cost, Budget(total=total), demand, limits)
    audited = plan_of(problem, N, D, k)
    if not math.isfinite(_merit(law, audited)):
        raise ValueError(
            f"{law.name} predicts nothing finite at N = {N:g}, D = {D:g}, k = {k:g}: such a plan "
            "is too far from what the law was fitted on"
        )
    keeping = {
        x: outcome(problem, audited, partial(best_keeping, kept=x, at=audited)) for x in NAMES
    }
    found = [outcome(problem, audited, best_of_budget), *keeping.values()]
    best = Outcome(  # what may move one less is found among what may move all
        better=max((x.better for x in found), key=lambda plan: _merit(law, plan)),
        cheaper=min((x.cheaper for x in found), key=lambda plan: plan.total_cost),
    )
    return AuditReport(
        audited=audited,
        best=best,
        keeping=keeping,
        parts=tuple(cost_parts(x, cost, demand) for x in (audited, best.better, best.cheaper)),
        demand=demand,
        unit=cost.unit,
        costs=cost.description,
        measured=cost.measured,
        warnings=fit_warnings(law),
    )


def outcome(problem: Problem, audited: Plan, way: Way) -> Outcome:
    merit = _merit(problem.law, audited)
    better = way(problem)
    if better is None or _merit(problem.law, better) <= merit:
        return Outcome(audited, audited)
    cheaper = as_good(problem, merit, way)
    return Outcome(better, cheaper if cheaper.total_cost < audited.total_cost else audited)


def as_good(problem: Problem, merit: float, way: Way) -> Plan:
    """The plan of least cost that has a merit, which the problem's own budget reaches."""

    @cache
    def short(log_share: float) -> float:
        plan = way(problem.scaled(math.exp(log_share)))
        return math.inf if plan is None else merit - _merit(problem.law, plan)

    high, step = 0.0, FIRST_STEP
    while short(high - step) <= 0:  # ends where a budget buys nothing
        high, step = high - step, 2 * step
    found = way(problem.scaled(math.exp(crossing(short, high - step, high))))
    assert found is not None, "a budget that reaches the merit buys a plan"
    return found


def best_of_budget(problem: Problem) -> Plan | None:
    try:
        return best_plans(problem)[1][0]
    except BudgetTooSmallError:
        return None


def cost_parts(plan: Plan, cost: CostModel, demand: Demand) -> CostParts:
    bare = plan.inference_cost
    if demand.prompt_tokens > 0:
        bare = float(cost.serve(plan.N, plan.k, replace(demand, prompt_tokens=0.0)))
    return CostParts(plan.train_cost, plan.inference_cost - bare, bare)


def shapley(without: dict[Name, float], whole: float) -> dict[Name, float]:
    """The share of each of N, D and k in `whole`; `without[x]` is the value when x is kept, and
    the value of moving one of them alone is 0."""
    pairs = sum(without.values())
    return {x: (pairs - without[x]) / 6 + (whole - without[x]) / 3 for x in NAMES}


def check_tolerance(tolerance: float) -> None:
    if not 0 <= tolerance < 1:
        raise ValueError(
            f"tolerance must be a share of the cost of at least 0 and below 1, got {tolerance:g}"
        )


def _merit(law: PassLaw, plan: Plan) -> float:
    return float(law.merit(plan.N, plan.D, plan.k))


def _check(N: float, D: float, k: float, demand: Demand, cost: CostModel, limits: Limits) -> None:
    numbers = {"N, its parameters": N, "D, its training tokens": D, "k, its samples": k}
    for name, value in numbers.items():
        if not 1 <= value < math.inf:
            raise ValueError(
                f"the plan to audit: {name}, must be at least 1 and finite, got {value:g}"
            )
    if limits.allowed_sizes:
        raise ValueError("an audit compares with models of any size: leave allowed_sizes out")
    smallest, largest = limits.size_range
    most_k = float(limits.most_samples(N, cost, demand))
    for name, value, low, high in (
        ("N", N, smallest, largest),
        ("D", D, 0.0, limits.most_tokens),
        ("k", k, 0.0, most_k),
    ):
        if not low <= value <= high:
            bound, side = (low, "below") if value < low else (high, "above")
            raise ValueError(
                f"the plan to audit must keep the limits itself, its {name} = {value:g} is {side} "
                f"{bound:g}: loosen the limit, or ask `t2 plan --target` for plans within it"
            )
    if not bool(limits.fits(N, k, cost, demand)):
        raise ValueError("the plan to audit needs more memory than max_memory_bytes allows")
