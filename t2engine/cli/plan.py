"""`t2 plan`: which N, D and k a budget should buy, beside the compute-optimal plan.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # commands import what they need when they run, so that --help is quick
    from t2engine.laws.selection import LawChoice
    from t2engine.laws.splits import Ladder
    from t2engine.plan.bands import PlanBands
    from t2engine.plan.optimizer import PlanReport

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
    law_file: Annotated[
        Path | None, typer.Option(help="A law that `t2 fit --out` wrote, instead of fitting one.")
    ] = None,
    bands: Annotated[
        bool | None,
        typer.Option(
            "--bands/--no-bands",
            help="How far N, D, k and pass@k would move if other models had been measured "
            "(default: for the counts law on up to 100 checkpoints, which takes a second).",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """The (N, D, k) of highest predicted pass@k for a budget, beside the compute-optimal plan.

    All budgets are in FLOPs: training costs 6ND, every served token 2N.
    """
    from t2engine.plan.optimizer import plan_budget
    from t2engine.plan.problem import Budget, demand_for
    from t2engine.reports.plan_table import plan_document, plan_table

    spend = Budget(total=budget, train=train_budget, inference=inference_budget)
    demand = demand_for(spend, questions, tokens, prompt_tokens)
    choice, ladder = _choose(law, law_file, observations)
    report = plan_budget(choice.law, spend, demand)
    spread = _bands(report, choice, ladder, bands)
    if as_json:
        print(json.dumps(plan_document(report, choice, spread)))
        return
    from rich.console import Console

    Console().print(plan_table(report, choice, spread))


def _choose(
    law: str, law_file: Path | None, observations: str | None
) -> tuple[LawChoice, Ladder | None]:
    """The law to plan with, and the ladder to draw its bands from where there is one."""
    from t2engine.laws.law_file import read_pass_law
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
    return fit_law(ladder, law), ladder


def _bands(
    report: PlanReport, choice: LawChoice, ladder: Ladder | None, wanted: bool | None
) -> PlanBands | None:
    from t2engine.laws.draws import draw_laws, is_quick, resample
    from t2engine.plan.bands import plan_bands

    law = choice.law
    if not (is_quick(law, ladder) if wanted is None else wanted):
        return None
    return plan_bands(report, draw_laws(law) if ladder is None else resample(ladder, law))
