"""Ask a trained plan the fresh questions, and meter what its answers cost.

A trial is a JSON file, written whole at the end: counts of each question, the meter's FLOPs and the
seconds of a question's prompt and of one of its samples, and those of the training before.

Units:  FLOPs and seconds; a prompt's are a question's once, a sample's its decoding alone.
Raises: ValueError for a file that is no trial, or one of other questions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from t2engine.engine.llm import LLM
from t2engine.files import write_text
from t2engine.schema import RequestOutput, SamplingParams
from t2engine.study.evaluation.counting import count_right
from t2engine.study.runs import read_record
from t2engine.study.tasks.task import Question, Task
from t2engine.study.verdict import Spent, Trial

QUESTIONS_PER_CALL = 100

Asked = Sequence[tuple[Task, Sequence[Question]]]


def run_trial(
    plan: str,
    model_dir: Path,
    asked: Asked,
    num_samples: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> Trial:
    """advance is called for each question."""
    record = read_record(model_dir)
    llm = LLM(model_dir)
    task_names: list[str] = []
    correct: list[int] = []
    prompt_flops, sample_flops, prompt_seconds, sample_seconds = 0.0, 0.0, 0.0, 0.0
    for task, questions in asked:
        params = SamplingParams(n=num_samples, seed=seed, max_tokens=task.max_tokens)
        for first in range(0, len(questions), QUESTIONS_PER_CALL):
            group = questions[first : first + QUESTIONS_PER_CALL]
            outputs: list[RequestOutput] = llm.generate(
                [question.prompt for question in group], params, progress=False
            )
            for question, output in zip(group, outputs, strict=True):
                correct.append(count_right(task, question, output.outputs))
                task_names.append(task.name)
                prompt_flops += output.cost.prefill_flops
                sample_flops += output.cost.decode_flops + output.cost.waste_flops
                prompt_seconds += output.cost.prefill_seconds
                sample_seconds += output.cost.decode_seconds
                advance()
    count = len(correct)
    return Trial(
        plan=plan,
        seed=record["run"]["recipe"]["seed"],
        N=record["N"],
        D=record["D"],
        flops=Spent(record["flops"], prompt_flops / count, sample_flops / (count * num_samples)),
        seconds=Spent(
            record["seconds"], prompt_seconds / count, sample_seconds / (count * num_samples)
        ),
        task=tuple(task_names),
        num_samples=np.full(count, num_samples),
        num_correct=np.array(correct),
    )


def write_trial(path: Path, trial: Trial, settings: dict[str, Any]) -> None:
    """settings: what the counts depend on, which `read_trial` holds against what it is given."""
    document = asdict(trial) | {
        "settings": settings,
        "task": list(trial.task),
        "num_samples": trial.num_samples.tolist(),
        "num_correct": trial.num_correct.tolist(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(document) + "\n")


def read_trial(path: Path, settings: dict[str, Any]) -> Trial | None:
    """The trial of a file; None where there is none yet."""
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = document.pop("settings")
        trial = Trial(
            **document
            | {
                "task": tuple(document["task"]),
                "flops": Spent(**document["flops"]),
                "seconds": Spent(**document["seconds"]),
                "num_samples": np.array(document["num_samples"]),
                "num_correct": np.array(document["num_correct"]),
            }
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be a trial of a study, remove it: {error!r}") from error
    if found != json.loads(json.dumps(settings)):
        raise ValueError(
            f"{path} is a trial of other questions or of another model; choose another directory "
            "or remove it"
        )
    return trial
