"""The options that say which law plans are made with, for every command that plans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from t2engine.laws.draws import Resamples
    from t2engine.laws.selection import LawChoice
    from t2engine.laws.splits import Ladder

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


def choose_law(
    law: str, law_file: Path | None, observations: str | None
) -> tuple[LawChoice, Ladder | None]:
    """The law to plan with, and the ladder to draw its bands from where there is one."""
    from t2engine.laws.law_file import read_pass_law, read_shipped_law
    from t2engine.laws.observations import read_observations, read_shipped_observations
    from t2engine.laws.selection import LawChoice, fit_law
    from t2engine.laws.splits import counts_ladder

    if law_file is not None:
        if law != "best":
            raise ValueError(f"--law-file already says which law, --law must be left out: {law!r}")
        ladder = None if observations is None else counts_ladder(read_observations(observations))
        return LawChoice(read_pass_law(law_file), ()), ladder
    rows = read_shipped_observations() if observations is None else read_observations(observations)
    ladder = counts_ladder(rows)
    if observations is None and law == "best":
        return LawChoice(read_shipped_law(), ()), ladder
    return fit_law(ladder, law), ladder


def draw(choice: LawChoice, ladder: Ladder | None, wanted: bool | None) -> Resamples | None:
    """Laws of other draws of models; where nobody said whether they are wanted, if it is quick."""
    from t2engine.laws.draws import draw_laws, is_quick, resample

    law = choice.law
    if not (is_quick(law, ladder) if wanted is None else wanted):
        return None
    return draw_laws(law) if ladder is None else resample(ladder, law)
