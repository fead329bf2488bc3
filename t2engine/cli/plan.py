"""`t2 plan`: which N, D and k a budget should buy, beside the compute-optimal plan.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t2engine.cli import cost_options

if TYPE_CHECKING:  # commands import what they need when they run, so that --help is quick
    from t2engine.costs.formula import CostModel
    from t2engine.laws.selection import LawChoice
    from t2engine.laws.splits import Ladder
    from t2engine.plan.bands import PlanBands
    from t2engine.plan.optimizer import PlanReport

LAWS = "counts, approach1, approach2, or best: whichever predicts unseen checkpoints better"


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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """The (N, D, k) of highest predicted pass@k for a budget, beside the compute-optimal plan.

    Budgets are in FLOPs (training costs 6ND, every served token 2N), or with --profile in seconds
    of that machine, in dollars or in joules.
    """
    from t2engine.costs.options import CostOptions, cost_model
    from t2engine.plan.dual import plan_target
    from t2engine.plan.limits import Limits
    from t2engine.plan.optimizer import plan_budget
    from t2engine.plan.problem import demand_for, spend_for
    from t2engine.plan.rules import rule_for
    from t2engine.reports.plan_table import plan_document, plan_table

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
    demand = demand_for(spend, questions, tokens, prompt_tokens, measured=profile is not None)
    costs = cost_model(options)
    choice, ladder = _choose(law, law_file, observations)
    if spend is None:
        assert target is not None
        report = plan_target(choice.law, target, demand, costs, limits, rule)
    else:
        report = plan_budget(choice.law, spend, demand, costs, limits, rule)
    is_plain = target is None and limits == Limits()
    spread = _bands(report, choice, ladder, bands, costs) if _may_draw(bands, is_plain) else None
    if as_json:
        print(json.dumps(plan_document(report, choice, spread)))
        return
    from rich.console import Console

    Console().print(plan_table(report, choice, spread))


def _choose(
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


def _may_draw(wanted: bool | None, is_plain: bool) -> bool:
    """is_plain: the plan is of a budget, and has no limits."""
    if wanted and not is_plain:
        raise ValueError("--bands are of a plan of a budget without limits; leave them out")
    return is_plain


def _bands(
    report: PlanReport,
    choice: LawChoice,
    ladder: Ladder | None,
    wanted: bool | None,
    costs: CostModel,
) -> PlanBands | None:
    from t2engine.laws.draws import draw_laws, is_quick, resample
    from t2engine.plan.bands import plan_bands

    law = choice.law
    quick = report.rule.is_plain and is_quick(law, ladder)
    if not (quick if wanted is None else wanted):
        return None
    draws = draw_laws(law) if ladder is None else resample(ladder, law)
    return plan_bands(report, draws, costs)
