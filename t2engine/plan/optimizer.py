"""Turn a law, a budget and a demand into a plan, beside the compute-optimal one.

Approach 1 at formula costs has a closed form; every other law is searched globally. The saving is
how much of the compute-optimal plan's budget the T2 plan does without at equal predicted pass@k:

    saving = 1 - 1 / r,    r the multiple of the budget the compute-optimal plan needs

Units:  N parameters, D training tokens, k samples per question (real: C_inf / 2N), costs in the
        unit of the cost model.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from t2engine.costs.formula import CostModel, Demand, FormulaCost, Spread
from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.pass_law import PassLaw
from t2engine.plan.baseline import LARGEST_RATIO, Baseline, budget_ratio, compute_optimal
from t2engine.plan.closed_form import solve_closed_form
from t2engine.plan.limits import Limits
from t2engine.plan.problem import Budget, BudgetTooSmallError, Problem
from t2engine.plan.rules import ENDLESS, SelectionRule
from t2engine.plan.search import FULL, Effort, search
from t2engine.plan.warnings import fit_warnings, range_warnings

SEARCH_REACH = 1e3  # N is searched this far below and above the models observed


@dataclass(frozen=True)
class Plan:
    """One way to spend a budget. `inference_cost` is for all questions served; `spread` says how
    far off measured costs may be, and is None where they are by formula. `expected_samples` are
    paid for: k, or fewer where sampling stops early. `effective_tokens` are the new tokens that D
    is worth, D where nothing is repeated, and `epochs` None where data has no end."""

    N: float
    D: float
    k: float
    pass_at_k: float
    train_cost: float
    inference_cost: float
    unit: str
    spread: Spread | None
    law: str
    warnings: tuple[str, ...]
    expected_samples: float
    effective_tokens: float
    epochs: float | None

    @property
    def tokens_per_parameter(self) -> float:
        return self.D / self.N

    @property
    def total_cost(self) -> float:
        return self.train_cost + self.inference_cost


@dataclass(frozen=True)
class PlanReport:
    """The T2 plan beside the compute-optimal one at the same budget.

    `budget_ratio` is the multiple of the budget that the compute-optimal plan needs to match the
    T2 plan; None where even the largest multiple tried does not. `ties` are other optima whose
    predicted pass@k cannot be told apart. `target` is the pass@k that the budget is the least cost
    of, None where the budget was given. `costs` says where the prices come from. Under a selection
    rule every pass@k is the success of that rule.
    """

    t2: Plan
    compute_optimal: Plan
    ties: tuple[Plan, ...]
    budget: Budget
    demand: Demand
    budget_ratio: float | None
    warnings: tuple[str, ...]
    unit: str
    costs: str
    measured: bool
    target: float | None = None
    rule: SelectionRule = field(default_factory=SelectionRule)

    @property
    def saving(self) -> float | None:
        return None if self.budget_ratio is None else 1 - 1 / self.budget_ratio


def plan_budget(
    law: PassLaw,
    budget: Budget,
    demand: Demand | None = None,
    cost: CostModel | None = None,
    limits: Limits | None = None,
    rule: SelectionRule | None = None,
) -> PlanReport:
    """The (N, D, k) of highest predicted pass@k within the budget, and within the limits.

    The compute-optimal plan is the one without limits, of the same rule and the same unique tokens.
    """
    rule = rule or SelectionRule()
    problem = problem_of(law, cost or FormulaCost(), budget, demand or Demand(), limits, rule)
    baseline, (best, *others) = best_plans(problem)
    baseline_warnings: tuple[str, ...] = ()
    if baseline.clipped:
        baseline_warnings = (
            "the compute-optimal model is too large for the inference budget: "
            "N was lowered until one sample fits",
        )
    optimal = plan_of(problem, baseline.N, baseline.D, baseline.k, baseline_warnings)
    merit = float(problem.law.merit(best.N, best.D, best.k))
    ratio = budget_ratio(problem, merit)
    warnings = rule.warnings(problem.cost.measured) + fit_warnings(law)
    if ratio is None:
        warnings += (
            f"the compute-optimal plan does not reach this {rule.success_name} at "
            f"{LARGEST_RATIO:g} times the budget: no saving can be stated",
        )
    if problem.limits.any:
        data = problem.limits.unique_tokens is not None
        warnings += (
            "the limits do not hold for the compute-optimal plan and the saving"
            + "; tokens repeated there are worth as little" * data,
        )
        if merit < baseline.merit:
            warnings += ("the compute-optimal plan without limits predicts more than they allow",)
    if others:
        places = ", ".join(f"N = {x.N:.3g} with k = {x.k:.3g}" for x in others)
        warnings += (f"other optima predict the same {rule.success_name}: {places}",)
    return PlanReport(
        t2=best,
        compute_optimal=optimal,
        ties=tuple(others),
        budget=budget,
        demand=problem.demand,
        budget_ratio=ratio,
        warnings=warnings,
        unit=problem.cost.unit,
        costs=problem.cost.description,
        measured=problem.cost.measured,
        rule=rule,
    )


def problem_of(
    law: PassLaw,
    cost: CostModel,
    budget: Budget,
    demand: Demand,
    limits: Limits | None = None,
    rule: SelectionRule | None = None,
) -> Problem:
    """With the law as limits on data and the rule make it."""
    limits, rule = limits or Limits(), rule or SelectionRule()
    judged = rule.judge(limits.judge(law))
    return Problem(judged, cost, budget, demand, limits, rule.stop_at_first)


def best_plans(problem: Problem, effort: Effort = FULL) -> tuple[Baseline, list[Plan]]:
    """The compute-optimal plan; the best one, and those that tie with it."""
    baseline = compute_optimal(problem)
    _refuse_less_than_one(baseline.N, baseline.D)
    best, *others = _optima(problem, baseline.N, effort)
    _refuse_less_than_one(best.N, best.D)
    return baseline, [best, *others]


def _refuse_less_than_one(N: float, D: float) -> None:
    if N < 1 or D < 1:
        raise BudgetTooSmallError(
            f"the plan comes out at N = {N:.2g} parameters and D = {D:.2g} tokens, both must be at "
            "least 1: the budget is too small, or N or D has no effect in these observations"
        )


def _optima(problem: Problem, baseline_N: float, effort: Effort) -> list[Plan]:
    """The best plan and those that tie with it."""
    law, cost = problem.law, problem.cost
    limits, demand = problem.limits, problem.demand
    if isinstance(law, Approach1Law) and isinstance(cost, FormulaCost) and not limits.any:
        # a rule, or data that repeat, would have wrapped the law
        found = solve_closed_form(law, cost, problem.budget, problem.demand)
        return [plan_of(problem, found.N, found.D, found.k, _clip_warning(found.clipped))]
    N_range = limits.within(*_search_range(law, baseline_N))
    plans = []
    for x in search(problem, N_range, effort):
        held = limits.binding(x.N, x.D, x.k, cost, demand) if limits.any else ()
        edges = tuple(edge for edge in x.at_edge if not (edge == "N" and _at_limit(limits, x.N)))
        one_is_most = problem.is_limited and float(problem.most_samples(x.N)) < 1 + 1e-5
        said = _clip_warning(x.clipped and not one_is_most) + _edge_warnings(edges, N_range) + held
        said += _most_warning(problem, x.k)
        plans.append(plan_of(problem, x.N, x.D, x.k, said))
    return plans


def _at_limit(limits: Limits, N: float) -> bool:
    return bool(limits.allowed) or any(abs(N / end - 1) < 1e-5 for end in limits.size_range if end)


def plan_of(problem: Problem, N: float, D: float, k: float, warnings: tuple[str, ...] = ()) -> Plan:
    """What N, D and k cost and do, with what is to be said of them."""
    drawn = float(problem.drawn(N, D, k))
    spread = problem.cost.spread(N, D, drawn, problem.demand)
    notes = () if spread is None else spread.notes
    train_cost = float(problem.cost.train(N, D))
    inference_cost = float(problem.cost.serve(N, drawn, problem.demand))
    unique, worth = problem.limits.unique_tokens, problem.limits.effective_tokens(D)
    warnings += _unspent(problem.budget, train_cost, inference_cost)
    return Plan(
        N=N,
        D=D,
        k=k,
        pass_at_k=float(problem.law.pass_at_k(N, D, k)),
        train_cost=train_cost,
        inference_cost=inference_cost,
        unit=problem.cost.unit,
        spread=spread,
        law=problem.law.name,
        warnings=warnings + range_warnings(problem.law.fit, N, worth, k) + notes,
        expected_samples=drawn,
        effective_tokens=worth,
        epochs=None if unique is None else D / unique,
    )


def _unspent(budget: Budget, train_cost: float, inference_cost: float) -> tuple[str, ...]:
    if budget.total is None:
        pairs = {
            "training": (train_cost, budget.train),
            "inference": (inference_cost, budget.inference),
        }
    else:
        pairs = {"": (train_cost + inference_cost, budget.total)}
    return tuple(
        f"{1 - spent / given:.2g} of the {name}{' ' * bool(name)}budget stays unspent"
        for name, (spent, given) in pairs.items()
        if given is not None and spent < given * (1 - 1e-4)
    )


def _search_range(law: PassLaw, baseline_N: float) -> tuple[float, float]:
    """Around the models observed, and always around the plan to beat."""
    low, high = (baseline_N, baseline_N) if law.fit is None else law.fit.N_range
    return max(min(low, baseline_N) / SEARCH_REACH, 1.0), max(high, baseline_N) * SEARCH_REACH


def _clip_warning(clipped: bool) -> tuple[str, ...]:
    return ("the law would draw less than one sample per question: k is held at 1",) * clipped


def _most_warning(problem: Problem, k: float) -> tuple[str, ...]:
    if problem.stop_at_first and k >= ENDLESS * (1 - 1e-6):
        return (f"k is held at {ENDLESS:.3g}: sampling goes on until an answer is accepted",)
    if k >= problem.useful_samples * (1 - 1e-6):
        return (
            f"k is held at {k:.4g}: with a verifier that accepts wrong answers further samples "
            "add nothing",
        )
    return ()


def _edge_warnings(edges: tuple[str, ...], N_range: tuple[float, float]) -> tuple[str, ...]:
    low, high = N_range
    sentences = {
        "N": f"N lies on the edge of the range searched, {low:.3g} to {high:.3g}: "
        "the law has no optimum inside it",
        "split": "nearly the whole budget goes to samples: the law has no optimum in between",
    }
    return tuple(sentences[edge] for edge in edges)
