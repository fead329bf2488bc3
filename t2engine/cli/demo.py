"""`t2 demo`: the whole job on the shipped model, in about a minute."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

PLAN_BUDGET = 1e13  # FLOPs: near what the ladder's own models cost
PLAN_QUESTIONS = 1e5


def demo(
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions.")] = 200,
    samples: Annotated[int, typer.Option("-n", "--samples", min=1, help="Per question.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of the questions and the samples.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Sample the shipped model, check its answers, show what each cost, and plan a budget."""
    from t2engine.cli.plan import plan
    from t2engine.reports.demo import print_demo
    from t2engine.study.demo import run_demo

    result = run_demo(questions, samples, seed)
    if as_json:
        print(
            json.dumps(
                {
                    "model": result.model,
                    "questions": len(result.questions),
                    "samples": samples,
                    "num_correct": result.num_correct,
                    "pass_at_k": [asdict(estimate) for estimate in result.pass_at_k],
                    "cost": [asdict(output.cost) for output in result.outputs],
                }
            )
        )
        return
    gold = [question.completion for question in result.questions]
    print_demo(result.model, gold, result.outputs, result.num_correct, result.pass_at_k)
    command = f"t2 plan --budget {PLAN_BUDGET:.0e} --questions {PLAN_QUESTIONS:.0e}"
    print(f"\nwhat a budget should buy, by a ladder of models trained on this task ({command})\n")
    plan(budget=PLAN_BUDGET, questions=PLAN_QUESTIONS)
