"""`t2 study`: train a ladder of small models, and measure how often they answer right.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    help="Train a ladder of small models on arithmetic and measure them.", no_args_is_help=True
)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Directory to put the trained models into.")],
    jobs: Annotated[int, typer.Option(min=1, help="Models trained at a time, a core each.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train every model of the ladder that OUT does not hold yet (under 90 minutes on 2 cores)."""
    from t2engine.study.ladder import build_ladder
    from t2engine.study.training import train_ladder

    ladder = build_ladder()
    train_ladder(ladder, out, jobs)
    if as_json:
        print(json.dumps({"directory": str(out), "models": [run.name for run in ladder]}))
    else:
        print(f"{len(ladder)} trained models in {out}")
        print(f"next: t2 study evaluate {out} --out observations.csv")


@app.command()
def evaluate(
    runs: Annotated[Path, typer.Argument(help="A trained model, or a directory of them.")],
    out: Annotated[Path, typer.Option(help="CSV file of observations to write.")],
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions.")] = 256,
    samples: Annotated[int, typer.Option(min=1, help="Samples per question.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of the questions and the samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Sample the models' answers to held-out questions and count the right ones."""
    from t2engine.reports.ladder import ladder_table, summarise
    from t2engine.study.evaluate import evaluate_ladder

    summaries = summarise(evaluate_ladder(runs, out, questions, samples, seed))
    if as_json:
        print(json.dumps({"observations": str(out), "models": summaries}))
        return
    Console().print(ladder_table(summaries))
    print(f"wrote {out}")
