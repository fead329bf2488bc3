"""`t2 study`: train ladders of small models, measure them, and try what a law plans.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from t2engine.study.runs import TrainRuns

app = typer.Typer(
    help="Train ladders of small models, measure them, and put a plan to the test.",
    no_args_is_help=True,
)

PRESET = "laptop: two cores, under an hour; gpu: larger models, for a GPU; tiny: to see it work."

GPU_JOBS = 4  # small models leave most of a GPU idle

PresetName = Annotated[str, typer.Option("--preset", help=PRESET)]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"Models trained at a time (default: a core each; with cuda {GPU_JOBS}, which share "
        "a GPU; with --ray, on each GPU).",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Spread the models over machines with Ray, which must all see OUT: the address of "
        "its cluster, auto for the one this machine belongs to, or local for this machine alone.",
    ),
]
Device = Annotated[str, typer.Option(help="What trains: cpu or cuda.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of weights, questions and samples.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("run")
def run_command(
    out: Annotated[Path, typer.Option(help="Directory of the study; the same command goes on.")],
    preset: PresetName = "laptop",
    jobs: Jobs = None,
    device: Device = "cpu",
    ray: RayAddress = None,
    seed: Seed = None,
    finetune: Annotated[
        str | None,
        typer.Option(
            help="A task to fine-tune every model on before it is asked, and asked alone."
        ),
    ] = None,
    finetune_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens of fine-tuning, the same for every model.")
    ] = 200_000,
    as_json: AsJson = False,
) -> None:
    """Train a ladder, ask it, fit the law, plan, train the plan, and see whether it was right.

    The plan, the compute-optimal one and one of 20 tokens a parameter are trained and asked fresh
    questions at the same measured cost. OUT/verdict.html shows what came out, OUT/verdict.json
    holds it.

    Example: t2 study run --preset laptop --out runs/study
    """
    from t2engine.files import write_text
    from t2engine.reports.figure_style import why_not_drawn
    from t2engine.reports.verdict_page import verdict_page
    from t2engine.reports.verdict_table import verdict_table
    from t2engine.study.document import verdict_document
    from t2engine.study.presets import named_preset
    from t2engine.study.study import run_study

    wanted = named_preset(preset, seed, finetune, finetune_tokens)
    check_device(device, ray)
    jobs, train, out = how_to_train(jobs, device, ray, out)
    console = Console(stderr=True)
    say = console.print
    with lost_runs_told():
        verdict = run_study(wanted, out, jobs, say, device=device, train=train)
    document = verdict_document(verdict)
    write_text(out / "verdict.json", json.dumps(document, indent=1) + "\n")
    reason = why_not_drawn()
    if reason is None:
        write_text(out / "verdict.html", verdict_page(document))
    if as_json:
        print(json.dumps(document))
        return
    Console().print(verdict_table(document))
    print(f"wrote {out / 'verdict.json'}")
    print(reason if reason is not None else f"wrote {out / 'verdict.html'}")


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Directory to put the trained models into.")],
    preset: PresetName = "laptop",
    jobs: Jobs = None,
    device: Device = "cpu",
    ray: RayAddress = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Train every model of a preset's ladder that OUT does not hold yet."""
    from t2engine.study.ladder import build_ladder
    from t2engine.study.presets import named_preset

    wanted = named_preset(preset, seed)
    ladder = build_ladder(wanted.pairs, wanted.tasks, wanted.recipe)
    check_device(device, ray)
    jobs, train_runs, out = how_to_train(jobs, device, ray, out)
    with lost_runs_told():
        train_runs(ladder, out, jobs, device=device)
    if as_json:
        print(json.dumps({"directory": str(out), "models": [run.name for run in ladder]}))
    else:
        print(f"{len(ladder)} trained models in {out}")
        print(f"next: t2 study evaluate {out} --tasks {','.join(wanted.tasks)} --out observations")


@app.command()
def finetune(
    runs: Annotated[Path, typer.Argument(help="A trained model, or a directory of them.")],
    task: Annotated[str, typer.Option(help="The task whose training questions are shown.")],
    out: Annotated[Path, typer.Option(help="Directory to put the fine-tuned models into.")],
    tokens: Annotated[int, typer.Option(min=1, help="Tokens, the same for every model.")] = 200_000,
    jobs: Jobs = None,
    device: Device = "cpu",
    ray: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Go on training finished models on one task, as post-training does.

    Their D stays what they were trained for, so that a law of the fine-tuned models is still one
    of N and D.
    """
    from t2engine.study.runs import finetuned_runs

    check_device(device, ray)
    jobs, train_runs, out = how_to_train(jobs, device, ray, out)
    later = finetuned_runs(runs if ray is None else runs.absolute(), task, tokens)
    with lost_runs_told():
        train_runs(later, out, jobs, device=device, title="fine-tuning")
    if as_json:
        print(json.dumps({"directory": str(out), "models": [run.name for run in later]}))
    else:
        print(f"{len(later)} fine-tuned models in {out}")
        print(f"next: t2 study evaluate {out} --tasks {task} --out observations")


def how_to_train(
    jobs: int | None, device: str, ray: str | None, out: Path
) -> tuple[int, TrainRuns, Path]:
    """How many models at a time, by what, and into which directory."""
    at_a_time = jobs or (cores() if device == "cpu" else GPU_JOBS)
    if ray is None:
        from t2engine.study.runs import train_runs

        return at_a_time, train_runs, out
    if jobs is not None and device == "cpu":
        raise ValueError(
            "--jobs must be left out with --ray on CPUs, where each core of the cluster trains a "
            f"model, got {jobs}"
        )
    from t2engine.integrations.ray_runs import import_ray, trainer_on_ray

    import_ray()  # refuses before anything is written
    return at_a_time, trainer_on_ray(ray), out.absolute()


@contextlib.contextmanager
def lost_runs_told() -> Iterator[None]:
    """A run that was lost is no bad input: one line on stderr, exit code 1."""
    from t2engine.study.runs import LostRunError

    try:
        yield
    except LostRunError as error:
        print(f"t2 study: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def check_device(device: str, ray: str | None) -> None:
    """A cluster may have the GPUs that this machine lacks."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, got {device!r}")
    if device == "cuda" and ray is None:
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device cuda needs a GPU that torch can use, found none")


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        typer.Option(
            help="With commas between: arithmetic, knowledge, causal, spatial; a .jsonl file of "
            "questions; or lambada:FILE, arc-easy:FILE, sciq:FILE, openbookqa:FILE."
        ),
    ] = None,
    verifier: Annotated[
        str | None,
        typer.Option(
            help="Your own judge of answers, module:function or path.py:function, which takes "
            "prompt, answer and completion and returns True or False."
        ),
    ] = None,
    verifier_seconds: Annotated[
        float, typer.Option(help="The most seconds of one call of it.")
    ] = 5.0,
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
    from t2engine.study.tasks.verifier import Verifier

    rule = StoppingRule(first=samples, most=max_samples)
    names = None if tasks is None else [name.strip() for name in tasks.split(",")]
    with contextlib.ExitStack() as stack:
        judge = None
        if verifier is not None:
            judge = stack.enter_context(Verifier(verifier, verifier_seconds))
        result = evaluate_models(runs, models, names, out, questions, rule, seed, verifier=judge)
        if judge is not None:
            print(f"verifier {verifier}: {judge.report()}", file=sys.stderr)
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
