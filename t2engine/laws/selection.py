"""Fit a law to a ladder, by name or by which predicts unseen checkpoints better.

Every law is scored on the splits of laws/splits.py: largest compute and strongest overtraining left
out, mean absolute error of pass@k over what was left out. "best" is the law of least mean error
over the splits, among those that were scored on all of them, refitted to everything. Where nothing
can be held out it is the first of counts, approach2 and approach1 that can be fitted, and a note
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from t2engine.laws.splits import (
    LAWS,
    SPLITS,
    FittedLaw,
    Ladder,
    check_law,
    fit_named,
    held_out_error,
)

LAW_NAMES = (*LAWS, "best")
UNTESTED = ("counts", "approach2", "approach1")  # in this order where nothing can be held out
NUM_STARTS = {"approach1": 48, "approach2": 48, "counts": 24}
HELD_OUT_STARTS = {"approach1": 16, "approach2": 16, "counts": 8}  # scores need no last digit
NAMED = 4  # checkpoints a note lists before it counts the rest


@dataclass(frozen=True)
class Score:
    """A law's error on a split, or None and the reason."""

    law: str
    split: str
    error: float | None
    reason: str = ""


@dataclass(frozen=True)
class LawChoice:
    """The law, how it was chosen, and what was left out. `held_out_errors` is empty if untested."""

    law: FittedLaw
    notes: tuple[str, ...]
    held_out_errors: dict[str, float] = field(default_factory=dict)  # mean over the splits


def fit_law(ladder: Ladder, name: str = "best", *, seed: int = 0) -> LawChoice:
    if name not in LAW_NAMES:
        raise ValueError(f"law must be one of {', '.join(LAW_NAMES)}, got {name!r}")
    if name != "best":
        return LawChoice(fit_whole(ladder, name, seed=seed), law_notes(ladder, name))
    obstacles = {x: obstacle(ladder, x) for x in LAWS}
    possible = [x for x in LAWS if not obstacles[x]]
    if not possible:
        raise ValueError("; and ".join(dict.fromkeys(obstacles.values())))
    scores = score_laws(ladder, possible, seed=seed) if len(possible) > 1 else ()
    best, why = choose(possible, scores)
    lost = tuple(f"{x} was not considered: {y}" for x, y in obstacles.items() if y)
    notes = (*law_notes(ladder, best), *lost, *why)
    return LawChoice(fit_whole(ladder, best, seed=seed), notes, mean_errors(scores))


def fit_whole(ladder: Ladder, name: str, *, seed: int = 0) -> FittedLaw:
    return fit_named(ladder, name, num_starts=NUM_STARTS[name], seed=seed)


def obstacle(ladder: Ladder, name: str) -> str:
    """Why a law cannot be fitted to a ladder; empty where it can."""
    try:
        check_law(ladder, name)
    except ValueError as error:
        return "; ".join([str(error), *law_notes(ladder, name)])
    return ""


def score_laws(
    ladder: Ladder,
    names: Sequence[str],
    *,
    seed: int = 0,
    on_score: Callable[[], None] = lambda: None,
) -> tuple[Score, ...]:
    """Every law on every split, in the order of `names`; `on_score` is called after each."""
    scores = []
    for name in names:
        for split, rule in SPLITS.items():
            kept = rule(ladder.curves.N, ladder.curves.D)
            scores.append(_score(ladder.select(kept), ladder.select(~kept), name, split, seed))
            on_score()
    return tuple(scores)


def _score(known: Ladder, unseen: Ladder, name: str, split: str, seed: int) -> Score:
    left = known.curves.N.size
    if not unseen.curves.N.size:
        return Score(name, split, None, f"{left} checkpoints are too few to leave any out")
    reason = obstacle(known, name)
    if reason:
        return Score(name, split, None, f"with {unseen.curves.N.size} left out: {reason}")
    law = fit_named(known, name, num_starts=HELD_OUT_STARTS[name], seed=seed)
    return Score(name, split, held_out_error(law, unseen.curves))


def mean_errors(scores: Sequence[Score]) -> dict[str, float]:
    """Of the laws that were scored on every split on which any was."""
    used = {x.split for x in scores if x.error is not None}
    found: dict[str, list[float]] = {}
    for score in scores:
        if score.error is not None:
            found.setdefault(score.law, []).append(score.error)
    return {x: sum(each) / len(each) for x, each in found.items() if len(each) == len(used)}


def choose(possible: Sequence[str], scores: Sequence[Score]) -> tuple[str, tuple[str, ...]]:
    """The best of the laws that can be fitted, and notes on what could not be compared."""
    if len(possible) == 1:
        return possible[0], ()
    errors = mean_errors(scores)
    if not errors:
        first = next(x for x in UNTESTED if x in possible)
        return first, (
            f"{first} is the default: too few checkpoints to hold any out for a comparison",
        )
    lost = [x for x in possible if x not in errors]
    reasons = {x.law: x.reason for x in scores if x.error is None}
    notes = tuple(f"{x} was not compared: {reasons[x]}" for x in lost)
    return min(errors, key=lambda x: errors[x]), notes


def law_notes(ladder: Ladder, name: str) -> tuple[str, ...]:
    """What a law leaves out of a ladder, or puts in its place."""
    if name == "counts":
        return ()
    notes = []
    if name == "approach2" and ladder.evidence.gold_nll is None:
        notes.append(
            "approach2 has no gold_nll of every row: the mean -ln of each question's pass@1 "
            "stands for the task NLL"
        )
    answered = ladder.curves.answered
    lost = [m for m, seen in zip(ladder.curves.models, answered, strict=True) if not seen]
    if lost:
        more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
        names = ", ".join(lost[:NAMED]) + more
        notes.append(f"{name} leaves out {len(lost)} checkpoints without one success: {names}")
    return tuple(notes)
