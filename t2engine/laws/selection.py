"""Fit a law to a ladder's curves, by name or by which predicts unseen compute better.

"best" trains both approaches on the cheapest 70 % of checkpoints (by 6 N D), takes the mean
absolute error of pass@k over the rest and all k, and refits the winner to everything. Ladders too
small to hold out, or without gold_nll, get Approach 1 and a note that says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from t2engine.laws.approach1 import Approach1Law, fit_approach1
from t2engine.laws.approach2 import Approach2Law, fit_approach2
from t2engine.laws.curves import PassCurves
from t2engine.laws.gamma import Array

LAW_NAMES = ("approach1", "approach2", "best")
TRAIN_SHARE = 0.7
LEAST_TRAINING = 8  # checkpoints left to fit on when some are held out
NUM_STARTS = 48
HELD_OUT_STARTS = 16  # a comparison needs no last digit


@dataclass(frozen=True)
class LawChoice:
    """The law, how it was chosen, and what was left out. `held_out_errors` is empty if untested."""

    law: Approach1Law | Approach2Law
    notes: tuple[str, ...]
    held_out_errors: dict[str, float] = field(default_factory=dict)


def fit_law(curves: PassCurves, name: str = "best", *, seed: int = 0) -> LawChoice:
    if name not in LAW_NAMES:
        raise ValueError(f"law must be one of {', '.join(LAW_NAMES)}, got {name!r}")
    notes = _excluded(curves) if name != "approach2" else ()
    if name != "best":
        return LawChoice(_fit(curves, name, seed), notes)
    if curves.task_nll is None:
        missing = "approach2 was not considered: column gold_nll is missing or has empty cells"
        return LawChoice(_fit(curves, "approach1", seed), (*notes, missing))
    cheap = _cheapest(curves)
    fitted = curves.select(cheap & curves.answered)
    if fitted.N.size < LEAST_TRAINING or min(_distinct(fitted.N), _distinct(fitted.D)) < 3:
        untested = "approach1 is the default: too few checkpoints to hold any out for a comparison"
        return LawChoice(_fit(curves, "approach1", seed), (*notes, untested))
    errors = {x: _held_out_error(curves, cheap, x, seed) for x in ("approach1", "approach2")}
    best = min(errors, key=lambda x: errors[x])
    notes = notes if best == "approach1" else ()
    return LawChoice(_fit(curves, best, seed), notes, errors)


def _fit(
    curves: PassCurves, name: str, seed: int, num_starts: int = NUM_STARTS
) -> Approach1Law | Approach2Law:
    if name == "approach1":
        seen = curves.select(curves.answered)
        return fit_approach1(
            seen.N, seen.D, seen.k, seen.nll, models=seen.models, num_starts=num_starts, seed=seed
        )
    if curves.task_nll is None:
        raise ValueError(
            f"{curves.source}: approach2 needs the column gold_nll filled in every row; "
            "measure it or use approach1"
        )
    return fit_approach2(
        curves.N,
        curves.D,
        curves.k,
        curves.pass_at_k,
        curves.task_nll,
        num_starts=num_starts,
        seed=seed,
    )


def _cheapest(curves: PassCurves) -> NDArray[np.bool_]:
    order = np.argsort(curves.N * curves.D, kind="stable")
    cheap = np.zeros(order.size, bool)
    cheap[order[: int(np.ceil(TRAIN_SHARE * order.size))]] = True
    return cheap


def _distinct(values: Array) -> int:
    return int(np.unique(values).size)


def _held_out_error(curves: PassCurves, cheap: NDArray[np.bool_], name: str, seed: int) -> float:
    law = _fit(curves.select(cheap), name, seed, HELD_OUT_STARTS)
    rest = curves.select(~cheap)
    predicted = law.pass_at_k(rest.N[:, None], rest.D[:, None], rest.k)
    return float(np.abs(predicted - rest.pass_at_k).mean())


def _excluded(curves: PassCurves) -> tuple[str, ...]:
    lost = [m for m, seen in zip(curves.models, curves.answered, strict=True) if not seen]
    if not lost:
        return ()
    return (f"approach1 leaves out {len(lost)} checkpoints without one success: {', '.join(lost)}",)
