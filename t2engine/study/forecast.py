"""From a ladder's observations to the plans that will be tried: laws, costs, and three plans.

Compute-optimal is what training alone would choose: the Chinchilla law of the gold answers' loss on
this ladder. Beside it goes the rule that is used where no such law was fitted, 20 tokens a
parameter. All plans go to rungs of the ladder: the T² plan is the best of all, that of 20 tokens
the best of those, and the compute-optimal one moves to the rung nearest in ln N and keeps what it
spends on training.

Units:  N parameters, D training tokens, k samples per question; FLOPs.
Raises: ValueError where a law cannot be fitted, or the budget is too small for a plan.
Source: 20 tokens a parameter: Hoffmann et al., arXiv:2203.15556, table 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from t2engine.costs.formula import CostModel, Demand
from t2engine.laws.chinchilla import ChinchillaLaw, fit_chinchilla
from t2engine.laws.counts import CountsLaw
from t2engine.laws.draws import Resamples, resample
from t2engine.laws.mean_law import MeanLaw
from t2engine.laws.splits import Ladder, fit_named
from t2engine.plan.bands import LEVEL, PlanBands, plan_bands
from t2engine.plan.limits import Limits
from t2engine.plan.optimizer import PlanReport, plan_budget
from t2engine.plan.problem import Budget
from t2engine.study.ladder_cost import LadderCost, rungs_near

RULE_OF_THUMB = 20  # tokens a parameter


@dataclass(frozen=True)
class Tried:
    """A plan as it will be trained."""

    N: int
    D: int
    k: float
    pass_at_k: float


@dataclass(frozen=True, eq=False)
class Forecast:
    """`report` and `bands` are of the plan over all N; the three plans tried are on rungs."""

    law: MeanLaw
    ladders: Mapping[str, Ladder]
    tasks: Mapping[str, CountsLaw]
    resamples: MeanResamples
    report: PlanReport
    bands: PlanBands
    t2: Tried
    compute_optimal: Tried
    twenty: Tried  # tokens a parameter

    def band(self, N: float, D: float, k: float, level: float = LEVEL) -> tuple[float, float]:
        """Where a new checkpoint's measured mean pass@k lies, as wide as if all tasks deviated the
        same way."""
        return self.resamples.pass_band(N, D, k, level)


@dataclass(frozen=True, eq=False)
class MeanResamples:
    """Laws of the mean, a refit each, all tasks refitted to the same draw of models."""

    laws: tuple[MeanLaw, ...]
    source: str
    by_task: tuple[Resamples, ...]

    def pass_band(self, N: float, D: float, k: float, level: float) -> tuple[float, float]:
        low, high = np.mean([x.pass_band(N, D, k, level) for x in self.by_task], axis=0)
        return float(low), float(high)


def forecast(
    ladders: Mapping[str, Ladder],
    cost: LadderCost,
    budget: float,
    demand: Demand,
    sizes: Sequence[float],
) -> Forecast:
    """ladders: of each task, over the same checkpoints; sizes: the N of the ladder."""
    laws = {name: fit_named(ladder, "counts") for name, ladder in ladders.items()}
    counts = {name: law for name, law in laws.items() if isinstance(law, CountsLaw)}
    law = MeanLaw(tuple(counts.values()), loss_law(list(ladders.values())))
    report = plan_budget(law, Budget(total=budget), demand, cost)
    drawn = tuple(resample(ladders[name], counts[name]) for name in counts)
    refits = tuple(
        MeanLaw(refit, law.training) for refit in zip(*(x.laws for x in drawn), strict=True)
    )
    resamples = MeanResamples(refits, drawn[0].source, drawn)
    rungs = rungs_near(sizes)
    limited = plan_budget(
        law, Budget(total=budget), demand, cost, Limits(allowed_sizes=tuple(rungs))
    )
    best = limited.t2
    return Forecast(
        law=law,
        ladders=ladders,
        tasks=counts,
        resamples=resamples,
        report=report,
        bands=plan_bands(report, resamples, cost),
        t2=Tried(round(best.N), round(best.D), best.k, best.pass_at_k),
        compute_optimal=on_a_rung(report, law, cost, budget, demand, rungs),
        twenty=best_of_twenty(law, cost, budget, demand, rungs),
    )


def on_a_rung(
    report: PlanReport,
    law: MeanLaw,
    cost: CostModel,
    budget: float,
    demand: Demand,
    rungs: Sequence[float],
) -> Tried:
    """The compute-optimal plan at the nearest rung, for the same cost of training."""
    plan = report.compute_optimal
    N = min(rungs, key=lambda rung: abs(np.log(rung / plan.N)))
    D = float(cost.tokens_for(N, plan.train_cost))
    k = float(cost.samples_for(N, budget - plan.train_cost, demand))
    if k < 1:
        raise ValueError(
            f"the compute-optimal plan at N = {N:g} leaves {k:.2g} samples per question; raise the "
            "budget or lower the questions it serves"
        )
    return Tried(round(N), round(D), k, float(law.pass_at_k(N, D, k)))


def best_of_twenty(
    law: MeanLaw, cost: CostModel, budget: float, demand: Demand, rungs: Sequence[float]
) -> Tried:
    """The rung of highest predicted pass@k when each is trained on 20 tokens a parameter."""
    N = np.asarray(rungs)
    D = RULE_OF_THUMB * N
    k = cost.samples_for(N, budget - cost.train(N, D), demand)
    predicted = np.where(k >= 1, law.pass_at_k(N, D, np.maximum(k, 1.0)), -1.0)
    best = int(predicted.argmax())
    if predicted[best] < 0:
        raise ValueError(
            f"no rung of the ladder leaves a sample per question after {RULE_OF_THUMB} tokens a "
            "parameter; raise the budget or lower the questions it serves"
        )
    return Tried(round(N[best]), round(D[best]), float(k[best]), float(predicted[best]))


def loss_law(ladders: Sequence[Ladder]) -> ChinchillaLaw:
    """Of the gold answers' loss, mean over questions and tasks."""
    losses = []
    for task in ladders:
        if task.evidence.gold_nll is None:
            raise ValueError(f"{task.evidence.source}: every row needs a gold_nll")
        losses.append(task.evidence.gold_nll)
    evidence = ladders[0].evidence
    return fit_chinchilla(evidence.N, evidence.D, np.mean(losses, axis=0))
