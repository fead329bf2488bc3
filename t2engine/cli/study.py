"""`t2 study`: train a ladder of small models, and measure how often they answer right.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train a ladder of small models on arithmetic and measure them.", no_args_is_help=True
)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Directory to put the trained models into.")],
    jobs: Annotated[int, typer.Option(min=1, help="Models trained at a time, a core each.")] = 2,
) -> None:
    """Train every model of the ladder that OUT does not hold yet (under 90 minutes on 2 cores)."""
    from t2engine.study.ladder import build_ladder
    from t2engine.study.training import train_ladder

    train_ladder(build_ladder(), out, jobs)


@app.command()
def evaluate(
    runs: Annotated[Path, typer.Argument(help="A trained model, or a directory of them.")],
    out: Annotated[Path, typer.Option(help="CSV file of observations to write.")],
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions.")] = 256,
    samples: Annotated[int, typer.Option(min=1, help="Samples per question.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of the questions and the samples.")] = 0,
) -> None:
    """Sample the models' answers to held-out questions and count the right ones."""
    from t2engine.study.evaluate import evaluate_ladder

    evaluate_ladder(runs, out, questions, samples, seed)
