"""What the planner's page computes with, as JSON-able plain data.

    law, bands    parameters of the fitted law, and of those refitted to other draws of models
    costs         the formula's constants, or the tables of measured prices that the planner reads
    the rest      budget, demand and limits of the command, the checkpoints behind the law

Units:  N parameters, D training tokens, k samples per question; costs in the cost model's unit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from t2engine.costs.formula import CostModel, FormulaCost
from t2engine.laws.counts import SAMPLES_OF_INTEREST
from t2engine.laws.counts_bands import DRAWS_PER_REFIT, NEAREST, CountsBands
from t2engine.laws.draws import Resamples
from t2engine.laws.law_file import Law, law_to_dict
from t2engine.laws.selection import LawChoice
from t2engine.plan.advice import Measured
from t2engine.plan.bands import LEVEL
from t2engine.plan.limits import Limits
from t2engine.plan.optimizer import Plan, PlanReport
from t2engine.plan.warnings import fit_warnings
from t2engine.reports.units import show_amount

FORMAT = "t2engine.planner"
VERSION = 1


@dataclass(frozen=True)
class PlannerInputs:
    """What a plan was made from. `measured` is None where nobody says what the law was fitted to,
    `resamples` where no bands were drawn."""

    choice: LawChoice
    costs: CostModel
    limits: Limits
    measured: Measured | None = None
    resamples: Resamples | None = None


def planner_document(report: PlanReport, inputs: PlannerInputs) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "law": _plain_law(inputs.choice.law),
        "held_out_errors": inputs.choice.held_out_errors,
        "notes": [*inputs.choice.notes, *fit_warnings(inputs.choice.law)],
        "costs": costs_document(report, inputs.costs),
        "unit": report.unit,
        "costs_are": report.costs,
        "budget": {name: x for name, x in vars(report.budget).items() if x is not None},
        "target": report.target,
        "demand": asdict(report.demand),
        "limits": asdict(inputs.limits),
        "spreads": [
            *_spread_words(report.t2, "of T²"),
            *_spread_words(report.compute_optimal, "of the compute-optimal plan"),
        ],
        "checkpoints": None if inputs.measured is None else _checkpoints(inputs.measured),
        "bands": None if inputs.resamples is None else bands_document(inputs.resamples),
    }


def costs_document(report: PlanReport, costs: CostModel) -> dict[str, Any]:
    if isinstance(costs, FormulaCost):
        return {
            "kind": "formula",
            "train_flops_per_parameter": costs.train_flops_per_parameter,
            "serve_flops_per_parameter": costs.serve_flops_per_parameter,
        }
    # measured costs bring scipy, which a plan by formula does without
    from t2engine.costs.calibrated import CalibratedCost
    from t2engine.reports.planner_prices import price_tables

    assert isinstance(costs, CalibratedCost), "there are two kinds of costs"
    return price_tables(costs, report.demand)


def bands_document(resamples: Resamples) -> dict[str, Any]:
    bands = resamples.bands
    return {
        "level": LEVEL,
        "source": resamples.source,
        "laws": [_plain_law(law, with_fit=False) for law in resamples.laws],
        "counts": None if bands is None else counts_bands_document(bands),
    }


def counts_bands_document(bands: CountsBands) -> dict[str, Any]:
    """`chosen` [refits, draws]: which of the `nearest` checkpoints lends its deviation."""
    nearest = -(-bands.ability.size // NEAREST)
    rng = np.random.default_rng(bands.seed)
    chosen = rng.integers(nearest, size=(len(bands.laws), DRAWS_PER_REFIT))
    return {
        "ability": bands.ability.tolist(),
        "deviation": bands.deviation.tolist(),
        "rest": bands.rest.tolist(),
        "rest_k": SAMPLES_OF_INTEREST.tolist(),
        "nearest": nearest,
        "chosen": chosen.tolist(),
    }


def _plain_law(law: Law, *, with_fit: bool = True) -> dict[str, Any]:
    document = {name: x for name, x in law_to_dict(law).items() if name != "covariance"}
    return document if with_fit else document | {"fit": None}


def _checkpoints(measured: Measured) -> list[list[float]]:
    """[N, D] of every checkpoint."""
    return np.stack([measured.N, measured.D], axis=1).astype(float).tolist()


def _spread_words(plan: Plan, whose: str) -> list[str]:
    """How far off measured prices may be, and where they rest on no measurement."""
    if plan.spread is None:
        return []
    train, serve = (
        " to ".join(show_amount(end, plan.unit) for end in ends)
        for ends in (plan.spread.train, plan.spread.serve)
    )
    costs = f"Nine times in ten training {whose} costs {train}, and all its answers {serve}."
    return [costs, *(f"{note[0].upper()}{note[1:]}." for note in plan.spread.notes)]
