"""A study's verdict as one JSON object: all that its page and its table show.

    {"format": "t2engine.verdict", "version": 1, "preset": {...}, "demand": {...}, "plans": {...},
     "laws": {task: law}, "ladder": [...], "outcomes": [...], "differences": [...], "curves": [...]}

Units: as in the records it is made of; cost in FLOPs.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from t2engine.laws.law_file import law_to_dict
from t2engine.study.forecast import Forecast
from t2engine.study.study import Verdict
from t2engine.study.verdict import Trial, task_means

FORMAT = "t2engine.verdict"
VERSION = 1
SHOWN_SAMPLES = (1, 4, 16, 64)  # of the ladder's table
CURVE_POINTS = 24


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    found = verdict.forecast
    return {
        "format": FORMAT,
        "version": VERSION,
        "preset": asdict(verdict.preset),
        "asked_tasks": list(verdict.preset.asked_tasks),
        "demand": asdict(verdict.demand),
        "plans": {
            "t2": asdict(found.t2),
            "compute_optimal": asdict(found.compute_optimal),
            "twenty": asdict(found.twenty),
            "any_size": asdict(found.report.t2) | {"bands": asdict(found.bands)},
            "compute_optimal_any_size": asdict(found.report.compute_optimal),
            "saving": found.report.saving,
            "budget_ratio": found.report.budget_ratio,
        },
        "laws": {name: law_to_dict(law) for name, law in found.tasks.items()},
        "ladder": ladder_rows(found),
        "outcomes": [asdict(x) | {"error": x.error, "held": x.held} for x in verdict.outcomes],
        "differences": [asdict(x) | {"words": x.words} for x in verdict.differences],
        "curves": [curve(trial, verdict.preset.demand_questions) for trial in verdict.trials],
    }


def ladder_rows(found: Forecast) -> list[dict[str, Any]]:
    """What each model of the ladder was measured at and is predicted at, mean over tasks; None for
    pass@k of more samples than a model without one success was given."""
    curves = [ladder.curves for ladder in found.ladders.values()]
    first = curves[0]
    at = [int(np.argmin(np.abs(first.k - k))) for k in SHOWN_SAMPLES]
    k = first.k[at]
    measured = np.mean([x.pass_at_k[:, at] for x in curves], axis=0)
    predicted = found.law.pass_at_k(first.N[:, None], first.D[:, None], k)
    return [
        {
            "model": model,
            "N": int(first.N[m]),
            "D": int(first.D[m]),
            "gold_nll": float(np.mean([x.task_nll[m] for x in curves])),
            "k": k.tolist(),
            "measured": [None if math.isnan(x) else x for x in measured[m].tolist()],
            "predicted": predicted[m].tolist(),
        }
        for m, model in enumerate(first.models)
    ]


def curve(trial: Trial, questions: float) -> dict[str, Any]:
    """Measured pass@k of a trial over k, beside what training and so many samples cost."""
    most = int(trial.num_samples.min())
    k = np.unique(np.round(np.geomspace(1, most, CURVE_POINTS))).astype(int)
    means = [task_means(trial.pass_at(float(x)), trial.task) for x in k]
    return {
        "plan": trial.plan,
        "seed": trial.seed,
        "k": k.tolist(),
        "flops": [trial.flops.total(questions, float(x)) for x in k],
        "pass_at_k": [float(np.mean(list(row.values()))) for row in means],
    }
