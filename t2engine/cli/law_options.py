"""The options that say which law plans are made with, for every command that plans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from t2engine.laws.draws import Resamples
    from t2engine.laws.selection import LawChoice
    from t2engine.laws.splits import FittedLaw, Ladder
    from t2engine.plan.advice import Measured

LAWS = "counts, approach1, approach2, or best: whichever predicts unseen checkpoints better"

Observations = Annotated[
    str | None,
    typer.Option(
        help="CSV with columns model, N, D, question, num_samples, num_correct and, if "
        "measured, gold_nll (default: those of the shipped ladder)."
    ),
]
LawName = Annotated[str, typer.Option(help=f"{LAWS}.")]
LawFile = Annotated[
    Path | None, typer.Option(help="A law that `t2 fit --out` wrote, instead of fitting one.")
]


@dataclass(frozen=True)
class Sources:
    """What is known beside the law: the ladder it is of, refits, and laws of the same ladder."""

    ladder: Ladder | None = None
    resamples: Resamples | None = None
    alternatives: tuple[FittedLaw, ...] = ()

    @property
    def measured(self) -> Measured | None:
        from t2engine.plan.advice import Measured

        if self.ladder is not None:
            return Measured(self.ladder.curves.N, self.ladder.curves.D)
        if self.resamples is None or self.resamples.bands is None:
            return None
        return Measured(self.resamples.bands.N, self.resamples.bands.D)


def choose_law(
    law: str, law_file: Path | None, observations: str | None
) -> tuple[LawChoice, Sources]:
    """The law to plan with, and what its bands and its sensitivity can be drawn from."""
    from t2engine.laws.law_file import read_law_file, read_shipped_law_file
    from t2engine.laws.observations import read_observations, read_shipped_observations
    from t2engine.laws.selection import LawChoice, fit_law
    from t2engine.laws.splits import counts_ladder

    if law_file is None and (observations is not None or law != "best"):
        if observations is None:
            rows = read_shipped_observations()
        else:
            rows = read_observations(observations)
        ladder = counts_ladder(rows)
        return fit_law(ladder, law), Sources(ladder)
    if law != "best":
        raise ValueError(f"--law-file already says which law, --law must be left out: {law!r}")
    file = read_shipped_law_file() if law_file is None else read_law_file(law_file)
    choice = LawChoice(file.law, ())
    if observations is not None:
        ladder = counts_ladder(read_observations(observations))
        return choice, Sources(ladder, alternatives=file.alternatives)
    return choice, Sources(None, file.resamples, file.alternatives)


def draw(law: FittedLaw, sources: Sources, wanted: bool | None) -> Resamples | None:
    """Laws of other draws of models; where nobody said whether they are wanted, if it is quick."""
    from t2engine.laws.draws import draw_laws, is_quick, resample

    if sources.resamples is not None:
        return None if wanted is False else sources.resamples
    if not (is_quick(law, sources.ladder) if wanted is None else wanted):
        return None
    return draw_laws(law) if sources.ladder is None else resample(sources.ladder, law)
