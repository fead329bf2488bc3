"""Sample a trained model's answers to held-out questions, count the right ones, write observations.

The samples come from t2engine's own engine at temperature 1; a right sample ends by itself and in
the right number. The gold loss comes from one forward pass of the model in the form it was trained.

Units: gold_nll natural-log loss, summed over the gold completion's tokens and its end token.
Raises: ValueError when a directory holds no finished run.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import astuple, fields
from pathlib import Path

from rich.console import Console
from rich.progress import track

from t2engine.engine.llm import LLM
from t2engine.schema import Observation, RequestOutput, SamplingParams
from t2engine.study.checkpoint import load_model
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.task import Question
from t2engine.study.training import RECORD, gold_losses, read_record

NUM_QUESTIONS = 256
NUM_SAMPLES = 64

Sampler = Callable[[Path, list[str], SamplingParams], list[RequestOutput]]


def sample_with_engine(
    model_dir: Path, prompts: list[str], params: SamplingParams
) -> list[RequestOutput]:
    outputs: list[RequestOutput] = LLM(model_dir).generate(prompts, params, progress=False)
    return outputs


def evaluate(
    model_dir: Path,
    questions: list[Question],
    num_samples: int,
    seed: int,
    sample: Sampler = sample_with_engine,
) -> list[Observation]:
    """One observation per question of the run in `model_dir`."""
    record = read_record(model_dir)
    params = SamplingParams(
        n=num_samples, temperature=1.0, seed=seed, max_tokens=ARITHMETIC.max_tokens
    )
    requests = sample(model_dir, [question.prompt for question in questions], params)
    losses = gold_losses(load_model(model_dir), questions)
    return [
        Observation(
            model=record["run"]["name"],
            N=record["N"],
            D=record["D"],
            question=question.prompt,
            num_samples=len(request.outputs),
            num_correct=count_correct(question, request),
            gold_nll=round(loss, 6),
        )
        for question, request, loss in zip(questions, requests, losses, strict=True)
    ]


def count_correct(question: Question, request: RequestOutput) -> int:
    """Samples that ended by themselves, in the right answer."""
    return sum(
        sample.finish_reason == "stop" and ARITHMETIC.is_right(question, sample.text)
        for sample in request.outputs
    )


def find_runs(directory: Path) -> list[Path]:
    """The directory if it is a finished run, or else the finished runs in it by N and D."""
    if (directory / RECORD).is_file():
        return [directory]
    found = [path.parent for path in directory.glob(f"[!.]*/{RECORD}")]
    records = {path: read_record(path) for path in found}
    if not records:
        raise ValueError(f"{directory} must be a finished run or hold some, found no {RECORD}")
    return sorted(records, key=lambda path: (records[path]["N"], records[path]["D"]))


def evaluate_ladder(
    directory: Path,
    out: Path,
    num_questions: int = NUM_QUESTIONS,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
    sample: Sampler = sample_with_engine,
) -> list[Observation]:
    """Ask every finished run in `directory` the same held-out questions; write a CSV file."""
    if out.is_dir():
        raise ValueError(f"{out} must be a file to write, got a directory")
    questions = ARITHMETIC.held_out_questions(num_questions, seed)
    observations: list[Observation] = []
    for model_dir in track(
        find_runs(directory), description="evaluating", console=Console(stderr=True)
    ):
        observations += evaluate(model_dir, questions, num_samples, seed, sample)
    write_observations(out, observations)
    return observations


def write_observations(path: Path, observations: Iterable[Observation]) -> None:
    """A CSV file with a column per field of `Observation`, replaced whole or left as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(field.name for field in fields(Observation))
            writer.writerows(astuple(observation) for observation in observations)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
