"""`t2 study`: train a ladder of small models, and measure how often they answer right.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2.
"""

from __future__ import annotations

import json
import sys
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
    out: Annotated[
        Path,
        typer.Option(
            help="CSV file of observations to write; with --models or --tasks a directory, "
            "of one CSV file for each task."
        ),
    ],
    runs: Annotated[
        Path | None, typer.Argument(help="A trained model, or a directory of them.")
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="TOML file that lists other models: name, path, D, N.")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks by name, or .jsonl files of questions; with commas between."),
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions.")] = 256,
    samples: Annotated[int, typer.Option(min=1, help="Samples per question, at first.")] = 16,
    max_samples: Annotated[
        int, typer.Option(min=1, help="Doubled up to this where fewer than 4 samples are right.")
    ] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of the questions and the samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Sample the models' answers to held-out questions and count the right ones.

    Counts are kept as they come, in OUT.journal: the same command goes on after an interruption.
    Exit code 1 where a model could not be evaluated.

    Example: t2 study evaluate --models models.toml --tasks arithmetic,mine.jsonl --out results
    """
    from t2engine.reports.ladder import ladder_table, rate_line, summarise
    from t2engine.study.evaluate import evaluate_models
    from t2engine.study.evaluation.rule import StoppingRule

    rule = StoppingRule(first=samples, most=max_samples)
    names = None if tasks is None else [name.strip() for name in tasks.split(",")]
    result = evaluate_models(runs, models, names, out, questions, rule, seed)
    for broken in result.failures:
        print(f"t2 study evaluate: {broken.name}: {broken.reason}", file=sys.stderr)
    by_task = {
        task: summarise(observations, result.rates(task))
        for task, observations in result.observations.items()
    }
    if as_json:
        summaries = [{"task": task, **row} for task, rows in by_task.items() for row in rows]
        failed = {broken.name: broken.reason for broken in result.failures}
        print(json.dumps({"observations": str(out), "models": summaries, "failed": failed}))
    else:
        for task, rows in by_task.items():
            if rows:
                Console().print(ladder_table(rows, task))
                print(rate_line(rows))
                print(f"wrote {result.files[task]}")
    if result.failures:
        raise typer.Exit(1)
