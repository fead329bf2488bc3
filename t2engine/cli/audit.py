"""`t2 audit`: what an existing plan would cost less, or do more, as the best plan there is.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2. Where more than the
tolerance could be saved the exit code is 1.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t2engine.cli import cost_options, law_options

if TYPE_CHECKING:  # commands import what they need when they run, so that --help is quick
    from t2engine.costs.formula import Demand
    from t2engine.reports.plan_file import StoredPlan


def audit(
    size: Annotated[float | None, typer.Option(help="N, the parameters of your model.")] = None,
    tokens_trained: Annotated[
        float | None, typer.Option(help="D, the tokens that it is trained on.")
    ] = None,
    k: Annotated[
        float | None, typer.Option("-k", "--k", help="The samples that each question gets.")
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="In place of the three: a file that `t2 plan --json` printed. Its demand and its "
            "law are taken too, where options do not say otherwise."
        ),
    ] = None,
    questions: Annotated[
        float | None, typer.Option(help="Questions that will be served (default 1,000,000).")
    ] = None,
    tokens: Annotated[
        float | None, typer.Option(help="Output tokens per sample (default 16).")
    ] = None,
    prompt_tokens: Annotated[
        float | None,
        typer.Option(help="Prompt tokens, read once per question for all its samples (default 0)."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(help="The share of its cost that a plan may waste and still pass as good."),
    ] = 0.05,
    observations: law_options.Observations = None,
    law: law_options.LawName = "best",
    law_file: law_options.LawFile = None,
    bands: Annotated[
        bool | None,
        typer.Option(
            "--bands/--no-bands",
            help="How sure it is that the best plan beats yours, had other models been measured "
            "(default: for the counts law on up to 100 checkpoints that are at hand, which takes a "
            "second).",
        ),
    ] = None,
    profile: cost_options.Profile = None,
    training_profile: cost_options.TrainingProfile = None,
    precision: cost_options.Precision = None,
    vocab_size: cost_options.VocabSize = None,
    usd_per_hour: cost_options.UsdPerHour = None,
    training_usd_per_hour: cost_options.TrainingUsdPerHour = None,
    joules: cost_options.Joules = False,
    max_tokens: Annotated[
        float | None, typer.Option(help="Data wall: the most training tokens of other plans.")
    ] = None,
    max_k: Annotated[
        float | None, typer.Option("--max-k", help="The most samples of other plans.")
    ] = None,
    min_size: Annotated[
        float | None, typer.Option(help="The least parameters N of other plans.")
    ] = None,
    max_size: Annotated[
        float | None, typer.Option(help="The most parameters N of other plans.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """What your plan (N, D, k) costs, and how much a better one would save.

    Beside it are the best plan at the same cost and the cheapest with the same predicted pass@k,
    and what of that comes from N, from D and from k. Exit code 0 where no more than --tolerance of
    the cost could be saved, 1 where more could.
    """
    from t2engine.costs.options import CostOptions, cost_model
    from t2engine.laws.law_file import read_shipped_law
    from t2engine.laws.selection import LawChoice
    from t2engine.plan.audit import audit_plan, check_tolerance
    from t2engine.plan.audit_odds import audit_odds
    from t2engine.plan.limits import Limits
    from t2engine.reports.audit_table import audit_document, audit_table
    from t2engine.reports.plan_file import unit_notes

    check_tolerance(tolerance)
    options = CostOptions(
        profile=profile,
        training_profile=training_profile,
        precision=precision,
        vocab_size=vocab_size,
        usd_per_hour=usd_per_hour,
        training_usd_per_hour=training_usd_per_hour,
        joules=joules,
    )
    limits = Limits(max_tokens=max_tokens, max_k=max_k, min_size=min_size, max_size=max_size)
    stored = _stored(plan, size, tokens_trained, k)
    demand = _demand(stored, questions, tokens, prompt_tokens)
    costs = cost_model(options)
    says_law = (law, law_file, observations) != ("best", None, None)
    if stored.law is None or says_law or stored.law == read_shipped_law():
        choice, sources = law_options.choose_law(law, law_file, observations)
    else:
        choice, sources = LawChoice(stored.law, ()), law_options.Sources()
    choice = replace(choice, notes=(*choice.notes, *unit_notes(stored, costs.unit)))
    report = audit_plan(choice.law, stored.N, stored.D, stored.k, demand, costs, limits)
    # without observations laws are drawn from a normal approximation, which is far too wide
    wanted = bool(bands) if sources.measured is None else bands
    laws = None if report.is_best else law_options.draw(choice.law, sources, wanted)
    odds = None if laws is None else audit_odds(report, laws)
    if as_json:
        print(json.dumps(audit_document(report, choice, tolerance, odds)))
    else:
        from rich.console import Console

        Console().print(audit_table(report, choice, tolerance, odds))
    if not report.is_within(tolerance):
        raise typer.Exit(1)


def _stored(
    plan: Path | None, size: float | None, tokens_trained: float | None, k: float | None
) -> StoredPlan:
    from t2engine.reports.plan_file import StoredPlan, read_plan

    numbers = {"--size": size, "--tokens-trained": tokens_trained, "-k": k}
    given = [name for name, x in numbers.items() if x is not None]
    if plan is not None and given:
        raise ValueError(f"--plan already says N, D and k: leave {', '.join(given)} out")
    if plan is not None:
        return read_plan(plan)
    if size is None or tokens_trained is None or k is None:
        missing = ", ".join(name for name in numbers if name not in given)
        raise ValueError(
            "a plan to audit is --size, --tokens-trained and -k, or a file of `t2 plan --json` as "
            f"--plan: missing {missing}"
        )
    return StoredPlan(size, tokens_trained, k)


def _demand(
    stored: StoredPlan,
    questions: float | None,
    tokens: float | None,
    prompt_tokens: float | None,
) -> Demand:
    """The demand of the file, or the defaults, with what options say in its place."""
    from t2engine.plan.problem import demand_for

    if stored.is_split and questions is None:
        raise ValueError(
            "the plan has two budgets, of which one is for a single question: say with --questions "
            "how many will be served"
        )
    options = {"questions": questions, "output_tokens": tokens, "prompt_tokens": prompt_tokens}
    given = {name: x for name, x in options.items() if x is not None}
    return replace(stored.demand or demand_for(None), **given)
