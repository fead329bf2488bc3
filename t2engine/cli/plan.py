"""`t2 plan`: which N, D and k a budget should buy, beside the compute-optimal plan.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from t2engine.cli import cost_options, law_options


def plan(
    budget: Annotated[
        float | None,
        typer.Option(help="In all, in FLOPs: training and serving every question come out of it."),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(help="In place of a budget: the least cost of this pass@k, such as 0.8."),
    ] = None,
    train_budget: Annotated[
        float | None, typer.Option(help="For training alone; goes with --inference-budget.")
    ] = None,
    inference_budget: Annotated[
        float | None,
        typer.Option(help="For one question: in FLOPs 2N for each token of k samples."),
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
    observations: law_options.Observations = None,
    law: law_options.LawName = "best",
    law_file: law_options.LawFile = None,
    bands: Annotated[
        bool | None,
        typer.Option(
            "--bands/--no-bands",
            help="How far N, D, k and pass@k would move if other models had been measured "
            "(default: for pass@k by the counts law on up to 100 checkpoints, a second).",
        ),
    ] = None,
    profile: cost_options.Profile = None,
    training_profile: cost_options.TrainingProfile = None,
    precision: cost_options.Precision = None,
    vocab_size: cost_options.VocabSize = None,
    usd_per_hour: cost_options.UsdPerHour = None,
    training_usd_per_hour: cost_options.TrainingUsdPerHour = None,
    joules: cost_options.Joules = False,
    verifier: Annotated[
        str | None,
        typer.Option(
            metavar="T,F",
            help="Judge a plan by the first answer that a verifier accepts, not by pass@k: it "
            "accepts the share T of right answers and F of wrong ones, such as 0.9,0.05.",
        ),
    ] = None,
    stop_at_first: Annotated[
        bool,
        typer.Option(
            "--stop-at-first",
            help="Sampling stops at the first answer accepted (without --verifier: the first that "
            "is right), so that only the expected samples are paid for and k is the most drawn.",
        ),
    ] = False,
    max_tokens: Annotated[
        float | None, typer.Option(help="Data wall: the most training tokens.")
    ] = None,
    unique_tokens: Annotated[
        float | None,
        typer.Option(
            help="Tokens of data there are. Seen again they are worth less, and the plan decides "
            "how often they are (at most --max-epochs times)."
        ),
    ] = None,
    max_epochs: Annotated[
        float | None,
        typer.Option(
            help="How often --unique-tokens may be seen (default 40, from where repeats were "
            "found worthless)."
        ),
    ] = None,
    max_k: Annotated[
        float | None, typer.Option("--max-k", help="The most samples a question may get.")
    ] = None,
    min_size: Annotated[float | None, typer.Option(help="The least parameters N.")] = None,
    max_size: Annotated[float | None, typer.Option(help="The most parameters N.")] = None,
    size: Annotated[
        list[float] | None, typer.Option(help="An N that is allowed; repeatable (default: any).")
    ] = None,
    max_latency: Annotated[
        float | None,
        typer.Option(help="The most seconds for a question alone; needs --profile."),
    ] = None,
    max_memory: Annotated[
        float | None, typer.Option(help="The most bytes to serve in; needs --profile.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Also write a page that plans anew as its sliders move, one file."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """The (N, D, k) of highest predicted pass@k for a budget, beside the compute-optimal plan.

    Budgets are in FLOPs (training costs 6ND, every served token 2N), or with --profile in seconds
    of that machine, in dollars or in joules.
    """
    from t2engine.costs.options import CostOptions, cost_model
    from t2engine.plan.advice import advise
    from t2engine.plan.bands import plan_bands
    from t2engine.plan.dual import plan_target
    from t2engine.plan.limits import Limits
    from t2engine.plan.optimizer import plan_budget
    from t2engine.plan.problem import demand_for, spend_for
    from t2engine.plan.rules import rule_for
    from t2engine.plan.sensitivity import Assumptions, sensitivities
    from t2engine.reports.plan_table import plan_document, plan_table

    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        raise ValueError(f"--html must be a file in a directory that exists, got {html}")
    spend = spend_for(budget, train_budget, inference_budget, target)
    options = CostOptions(
        profile=profile,
        training_profile=training_profile,
        precision=precision,
        vocab_size=vocab_size,
        usd_per_hour=usd_per_hour,
        training_usd_per_hour=training_usd_per_hour,
        joules=joules,
    )
    limits = Limits(
        max_tokens=max_tokens,
        unique_tokens=unique_tokens,
        max_epochs=max_epochs,
        max_k=max_k,
        min_size=min_size,
        max_size=max_size,
        allowed_sizes=tuple(size or ()),
        max_latency_seconds=max_latency,
        max_memory_bytes=max_memory,
    )
    rule = rule_for(verifier, stop_at_first)
    if html is not None and not (rule.is_plain and unique_tokens is None):
        raise ValueError(
            "--html plans by pass@k of new tokens: leave --verifier, --stop-at-first and "
            "--unique-tokens out, or the page"
        )
    demand = demand_for(spend, questions, tokens, prompt_tokens, measured=profile is not None)
    costs = cost_model(options)
    choice, sources = law_options.choose_law(law, law_file, observations)
    if spend is None:
        assert target is not None
        report = plan_target(choice.law, target, demand, costs, limits, rule)
    else:
        report = plan_budget(choice.law, spend, demand, costs, limits, rule)
    is_plain = target is None and limits == Limits()
    wants_draws = _may_draw(bands, is_plain) or html is not None
    wanted = bool(bands) if not rule.is_plain else bands  # a search with a rule takes seconds
    drawn = law_options.draw(choice.law, sources, wanted) if wants_draws else None
    spread = plan_bands(report, drawn, costs) if drawn is not None and is_plain else None
    if html is not None:
        from t2engine.reports.planner_document import PlannerInputs
        from t2engine.reports.planner_page import write_planner_page

        inputs = PlannerInputs(choice, costs, limits, sources.measured, drawn)
        write_planner_page(report, inputs, html)
    known = (drawn if is_plain else None) or sources.resamples
    given = Assumptions(
        law=choice.law,
        cost=costs,
        limits=limits,
        refits=() if known is None else known.laws,
        alternatives=sources.alternatives,
    )
    moves = sensitivities(report, given)
    advice = advise(report, given, sources.measured, moves)
    if as_json:
        print(json.dumps(plan_document(report, choice, spread, advice, moves)))
        return
    from rich.console import Console

    Console().print(plan_table(report, choice, spread, advice))


def _may_draw(wanted: bool | None, is_plain: bool) -> bool:
    """is_plain: the plan is of a budget, and has no limits."""
    if wanted and not is_plain:
        raise ValueError("--bands are of a plan of a budget without limits; leave them out")
    return is_plain
