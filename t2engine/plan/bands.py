"""How far a plan would move if other models had been measured.

    N*, D*, k*   quantiles over the plans of refitted laws, one a refit, at the same budget
    pass@k       at the plan itself: where a new checkpoint's measured pass@k lies, for the counts
                 law refitted to its observations; else quantiles over the refitted laws' curves,
                 which leave out how far a checkpoint deviates from its law, as do those of what
                 an imperfect verifier makes of each law; widened to hold the law's own prediction,
                 which refits to few models may all lie to one side of

Units:  N parameters, D training tokens, k samples per question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from t2engine.costs.formula import CostModel, FormulaCost
from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.pass_law import PassLaw
from t2engine.plan.closed_form import solve_closed_form
from t2engine.plan.optimizer import SEARCH_REACH, PlanReport, problem_of
from t2engine.plan.search import QUICK, search

LEVEL = 0.9

Band = tuple[float, float]


class DrawnLaws(Protocol):
    """Laws of other draws of models; `Resamples` is one."""

    @property
    def laws(self) -> Sequence[PassLaw]: ...

    @property
    def source(self) -> str: ...

    def pass_band(self, N: float, D: float, k: float, level: float) -> tuple[float, float]: ...


@dataclass(frozen=True)
class PlanBands:
    """Each band holds the central `level` of plans."""

    N: Band
    D: Band
    k: Band
    tokens_per_parameter: Band
    pass_at_k: Band
    level: float
    num_laws: int
    source: str


def plan_bands(
    report: PlanReport,
    resamples: DrawnLaws,
    cost: CostModel | None = None,
    level: float = LEVEL,
) -> PlanBands:
    """Bands of `report.t2`, from the laws that other draws of models would have given.

    The report is one without limits, whatever its selection rule.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    plans = np.array([_best(law, report, cost or FormulaCost()) for law in resamples.laws])
    tails = [(1 - level) / 2, (1 + level) / 2]
    N, D, k = plans.T

    def band(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Band:
        low, high = np.quantile(values, tails)
        return float(low), float(high)

    best = report.t2
    if report.rule.verifier.is_perfect:
        low, high = resamples.pass_band(best.N, best.D, best.k, level)
    else:
        judged = (report.rule.judge(law) for law in resamples.laws)
        low, high = np.quantile([float(x.pass_at_k(best.N, best.D, best.k)) for x in judged], tails)
    return PlanBands(
        N=band(N),
        D=band(D),
        k=band(k),
        tokens_per_parameter=band(D / N),
        pass_at_k=(min(float(low), best.pass_at_k), max(float(high), best.pass_at_k)),
        level=level,
        num_laws=len(resamples.laws),
        source=resamples.source,
    )


def _best(law: PassLaw, report: PlanReport, cost: CostModel) -> tuple[float, float, float]:
    plain = report.rule.is_plain
    if plain and isinstance(law, Approach1Law) and isinstance(cost, FormulaCost):
        optimum = solve_closed_form(law, cost, report.budget, report.demand)
        return optimum.N, optimum.D, optimum.k
    around = max(report.t2.N / SEARCH_REACH, 1.0), report.t2.N * SEARCH_REACH
    problem = problem_of(law, cost, report.budget, report.demand, rule=report.rule)
    found = search(problem, around, QUICK)[0]
    return found.N, found.D, found.k
