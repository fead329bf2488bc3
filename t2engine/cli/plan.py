"""`t2 plan`: which N, D and k a budget should buy, beside the compute-optimal plan.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

LAWS = "counts, approach1, approach2, or best: whichever predicts unseen checkpoints better"


def plan(
    budget: Annotated[
        float | None,
        typer.Option(help="Total FLOPs: training and serving every question come out of it."),
    ] = None,
    train_budget: Annotated[
        float | None, typer.Option(help="Training FLOPs; goes with --inference-budget.")
    ] = None,
    inference_budget: Annotated[
        float | None, typer.Option(help="FLOPs for one question: 2N for each token of k samples.")
    ] = None,
    questions: Annotated[
        float | None, typer.Option(help="Questions that --budget serves (default 1,000,000).")
    ] = None,
    tokens: Annotated[
        float | None,
        typer.Option(
            help="Output tokens per sample (default 16 with --budget; 1 with two budgets, "
            "so that k = inference budget / 2N)."
        ),
    ] = None,
    prompt_tokens: Annotated[
        float, typer.Option(help="Prompt tokens, read once per question for all its samples.")
    ] = 0.0,
    observations: Annotated[
        str | None,
        typer.Option(
            help="CSV with columns model, N, D, question, num_samples, num_correct and, if "
            "measured, gold_nll (default: those of the shipped ladder)."
        ),
    ] = None,
    law: Annotated[str, typer.Option(help=f"{LAWS}.")] = "best",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """The (N, D, k) of highest predicted pass@k for a budget, beside the compute-optimal plan.

    All budgets are in FLOPs: training costs 6ND, every served token 2N.
    """
    from t2engine.laws.observations import read_observations, read_shipped_observations
    from t2engine.laws.selection import fit_law
    from t2engine.laws.splits import counts_ladder
    from t2engine.plan.optimizer import plan_budget
    from t2engine.plan.problem import Budget, demand_for
    from t2engine.reports.plan_table import plan_document, plan_table

    spend = Budget(total=budget, train=train_budget, inference=inference_budget)
    demand = demand_for(spend, questions, tokens, prompt_tokens)
    rows = read_shipped_observations() if observations is None else read_observations(observations)
    choice = fit_law(counts_ladder(rows), law)
    report = plan_budget(choice.law, spend, demand)
    if as_json:
        print(json.dumps(plan_document(report, choice)))
        return
    from rich.console import Console

    Console().print(plan_table(report, choice))
