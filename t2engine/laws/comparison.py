"""Every law fitted to one ladder, with its held-out scores and the intervals of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from t2engine.laws.draws import Resamples, intervals, resample
from t2engine.laws.law import FitReport
from t2engine.laws.selection import Score, choose, fit_whole, law_notes, obstacle, score_laws
from t2engine.laws.splits import LAWS, SPLITS, FittedLaw, Ladder


@dataclass(frozen=True)
class Contender:
    """A law fitted to the whole ladder, or None and the obstacle."""

    name: str
    law: FittedLaw | None = None
    obstacle: str = ""
    scores: tuple[Score, ...] = ()  # one a split
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)  # 5 % to 95 %
    notes: tuple[str, ...] = ()
    resamples: Resamples | None = None  # that the intervals are of

    @property
    def reports(self) -> dict[str, FitReport]:
        """Of the law, and of its training loss where that is fitted by itself."""
        if self.law is None or self.law.fit is None:
            return {}
        training = self.law.training.fit
        apart = training is not None and training is not self.law.fit
        extra = {"training loss": training} if apart and training is not None else {}
        return {self.name: self.law.fit} | extra

    @property
    def converged(self) -> bool:
        return all(report.converged for report in self.reports.values())

    @property
    def bounds_hit(self) -> tuple[str, ...]:
        return tuple(name for report in self.reports.values() for name in report.bounds_hit)


@dataclass(frozen=True)
class Comparison:
    contenders: tuple[Contender, ...]
    best: Contender
    notes: tuple[str, ...]  # on how the best was found

    @property
    def sound(self) -> bool:
        """The best law converged, on no bound."""
        return self.best.converged and not self.best.bounds_hit


def num_steps(names: Sequence[str]) -> int:
    """How often `compare_laws` calls `on_step`, at most."""
    return len(names) * (len(SPLITS) + 2)


def compare_laws(
    ladder: Ladder,
    names: Sequence[str] = LAWS,
    *,
    seed: int = 0,
    on_step: Callable[[], None] = lambda: None,
) -> Comparison:
    obstacles = {x: obstacle(ladder, x) for x in names}
    possible = [x for x in names if not obstacles[x]]
    if not possible:
        raise ValueError("; and ".join(dict.fromkeys(obstacles.values())))
    scores = score_laws(ladder, possible, seed=seed, on_score=on_step)
    contenders = []
    for name in names:
        if obstacles[name]:
            contenders.append(Contender(name, obstacle=obstacles[name]))
            continue
        law = fit_whole(ladder, name, seed=seed)
        on_step()
        drawn = resample(ladder, law, seed=seed)
        on_step()
        own = tuple(x for x in scores if x.law == name)
        spread, notes = intervals(drawn.laws), law_notes(ladder, name)
        contenders.append(Contender(name, law, "", own, spread, notes, drawn))
    best, why = choose(possible, scores)
    return Comparison(tuple(contenders), next(x for x in contenders if x.name == best), why)
