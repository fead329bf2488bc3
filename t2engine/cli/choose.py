"""`t2 choose`: which existing model, with how many samples, reaches a pass@k at the least cost.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2. Where no model
reaches the target the exit code is 1.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from t2engine.cli import cost_options


def choose(
    observations: Annotated[
        str,
        typer.Argument(
            help="CSV with columns model, N, D, question, num_samples, num_correct: what each "
            "model answered."
        ),
    ],
    target: Annotated[float, typer.Option(help="The pass@k to reach, such as 0.8.")],
    models: Annotated[
        str, typer.Option(help="Only models whose names match, such as '*-300B'.")
    ] = "*",
    max_k: Annotated[
        int, typer.Option("--max-k", help="The most samples a question may get.")
    ] = 1_000_000,
    questions: Annotated[
        float | None, typer.Option(help="Questions to serve (default 1,000,000).")
    ] = None,
    tokens: Annotated[
        float | None, typer.Option(help="Output tokens per sample (default 16).")
    ] = None,
    prompt_tokens: Annotated[
        float, typer.Option(help="Prompt tokens, read once per question for all its samples.")
    ] = 0.0,
    profile: cost_options.Profile = None,
    precision: cost_options.Precision = None,
    vocab_size: cost_options.VocabSize = None,
    usd_per_hour: cost_options.UsdPerHour = None,
    joules: cost_options.Joules = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """The model and k that reach a target pass@k at the least cost of serving.

    pass@k is by empirical Bayes from the counts. Exit code 1 where no model reaches the target.
    """
    from t2engine.costs.options import CostOptions, cost_model
    from t2engine.laws.observations import read_observations
    from t2engine.plan.choice import candidates_from, choose_model
    from t2engine.plan.problem import demand_for
    from t2engine.reports.choice_table import choice_document, choice_table

    options = CostOptions(
        profile=profile,
        precision=precision,
        vocab_size=vocab_size,
        usd_per_hour=usd_per_hour,
        joules=joules,
    )
    demand = demand_for(None, questions, tokens, prompt_tokens)
    costs = cost_model(options)
    candidates = candidates_from(read_observations(observations), models)
    report = choose_model(candidates, target, demand, costs, max_k=max_k)
    if as_json:
        print(json.dumps(choice_document(report)))
    else:
        from rich.console import Console

        Console().print(choice_table(report))
    if report.best is None:
        raise typer.Exit(1)
