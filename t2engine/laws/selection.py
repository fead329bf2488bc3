"""Fit a law to a ladder's curves, by name or by which predicts unseen compute better.

"best" trains both approaches on the cheapest 70 % of checkpoints (by 6 N D), takes the mean
absolute error of pass@k over the rest and all k, and refits the winner to everything. Where only
one can be fitted it is taken, where nothing can be held out Approach 2 is, and a note says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from t2engine.laws.approach1 import Approach1Law, check_approach1, fit_approach1
from t2engine.laws.approach2 import Approach2Law, check_approach2, fit_approach2
from t2engine.laws.curves import PassCurves
from t2engine.laws.gamma import Array

LAW_NAMES = ("approach1", "approach2", "best")
TRAIN_SHARE = 0.7
LEAST_TRAINING = 8  # checkpoints left to fit on when some are held out
NUM_STARTS = 48
NAMED = 4  # checkpoints a note lists before it counts the rest
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
    if name != "best":
        return _choice(curves, name, seed)
    obstacles = {x: _obstacle(curves, x) for x in ("approach1", "approach2")}
    possible = [x for x, obstacle in obstacles.items() if not obstacle]
    if not possible:
        raise ValueError(f"{obstacles['approach1']}; and {obstacles['approach2']}")
    if len(possible) == 1:
        lost = [
            f"{x} was not considered: {obstacle}" for x, obstacle in obstacles.items() if obstacle
        ]
        return _choice(curves, possible[0], seed, *lost)
    cheap = _cheapest(curves)
    fitted = curves.select(cheap & curves.answered)
    if fitted.N.size < LEAST_TRAINING or _obstacle(fitted, "approach1"):
        untested = "approach2 is the default: too few checkpoints to hold any out for a comparison"
        return _choice(curves, "approach2", seed, untested)
    errors = {x: _held_out_error(curves, cheap, x, seed) for x in possible}
    best = min(errors, key=lambda x: errors[x])
    return replace(_choice(curves, best, seed), held_out_errors=errors)


def _choice(curves: PassCurves, name: str, seed: int, *notes: str) -> LawChoice:
    excluded = _excluded(curves) if name == "approach1" else ()
    return LawChoice(_fit(curves, name, seed), (*excluded, *notes))


def _obstacle(curves: PassCurves, name: str) -> str:
    """Why a law cannot be fitted to these curves; empty where it can."""
    try:
        if name == "approach1":
            _answered(curves)
        else:
            check_approach2(curves.N, curves.D, curves.k, _task_nll(curves))
    except ValueError as error:
        return str(error)
    return ""


def _answered(curves: PassCurves) -> PassCurves:
    """The checkpoints Approach 1 can use: those with a success."""
    seen = curves.select(curves.answered)
    try:
        check_approach1(seen.N, seen.D, seen.k)
    except ValueError as error:
        raise ValueError("; ".join([str(error), *_excluded(curves)])) from error
    return seen


def _task_nll(curves: PassCurves) -> Array:
    if curves.task_nll is None:
        raise ValueError(
            f"{curves.source}: approach2 needs the column gold_nll filled in every row; "
            "measure it or use approach1"
        )
    return curves.task_nll


def _fit(
    curves: PassCurves, name: str, seed: int, num_starts: int = NUM_STARTS
) -> Approach1Law | Approach2Law:
    if name == "approach1":
        seen = _answered(curves)
        return fit_approach1(
            seen.N,
            seen.D,
            seen.k,
            seen.nll,
            models=seen.models,
            num_starts=num_starts,
            seed=seed,
        )
    return fit_approach2(
        curves.N,
        curves.D,
        curves.k,
        curves.pass_at_k,
        _task_nll(curves),
        num_starts=num_starts,
        seed=seed,
    )


def _cheapest(curves: PassCurves) -> NDArray[np.bool_]:
    order = np.argsort(curves.N * curves.D, kind="stable")
    cheap = np.zeros(order.size, bool)
    cheap[order[: int(np.ceil(TRAIN_SHARE * order.size))]] = True
    return cheap


def _held_out_error(curves: PassCurves, cheap: NDArray[np.bool_], name: str, seed: int) -> float:
    law = _fit(curves.select(cheap), name, seed, HELD_OUT_STARTS)
    rest = curves.select(~cheap)
    predicted = law.pass_at_k(rest.N[:, None], rest.D[:, None], rest.k)
    return float(np.abs(predicted - rest.pass_at_k).mean())


def _excluded(curves: PassCurves) -> tuple[str, ...]:
    lost = [m for m, seen in zip(curves.models, curves.answered, strict=True) if not seen]
    if not lost:
        return ()
    more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    names = ", ".join(lost[:NAMED]) + more
    return (f"approach1 leaves out {len(lost)} checkpoints without one success: {names}",)
