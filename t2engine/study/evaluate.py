"""Sample trained models' answers to held-out questions, count the right ones, write observations.

The samples come from t2engine's own engine at temperature 1; a right sample ends by itself, in the
right answer. How many are drawn, and how a run survives being killed, is in `evaluation/`.

Units:  gold_nll natural-log loss, summed over the gold completion's tokens and its end.
Raises: ValueError when a directory holds no finished run, or a task or place cannot be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from t2engine.schema import Observation, RequestOutput
from t2engine.study.evaluation.ask import Inquiry, Memory, ask_all
from t2engine.study.evaluation.checkpoints import (
    Failure,
    parameters_of,
    read_ladder,
    read_models,
    try_run,
)
from t2engine.study.evaluation.counting import count_right
from t2engine.study.evaluation.ladder import (
    Evaluation,
    Open,
    evaluate_checkpoints,
    observations_of,
)
from t2engine.study.evaluation.records import write_observations
from t2engine.study.evaluation.rule import StoppingRule, fixed
from t2engine.study.evaluation.source import EngineSource
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.file_task import FileTask
from t2engine.study.tasks.registry import task_named
from t2engine.study.tasks.task import Question, Task
from t2engine.study.tasks.verifier import VerifiedTask, Verifier

__all__ = [
    "NUM_QUESTIONS",
    "NUM_SAMPLES",
    "count_correct",
    "evaluate",
    "evaluate_ladder",
    "evaluate_models",
    "find_runs",
    "write_observations",
]

NUM_QUESTIONS = 256
NUM_SAMPLES = 64  # of each question, where the number is not to depend on the counts


def count_correct(question: Question, request: RequestOutput, task: Task = ARITHMETIC) -> int:
    """Samples that ended by themselves, in the right answer."""
    return count_right(task, question, request.outputs)


def find_runs(directory: Path) -> list[Path]:
    """The directory if it is a finished run, or else the finished runs in it by N and D."""
    checkpoints, failures = read_ladder(directory)
    if failures:
        raise ValueError(failures[0].reason)
    return [checkpoint.path for checkpoint in checkpoints]


def evaluate(
    model_dir: Path,
    questions: Sequence[Question],
    num_samples: int,
    seed: int,
    task: Task = ARITHMETIC,
    open_source: Open = EngineSource,
) -> list[Observation]:
    """One observation per question of the run in `model_dir`; nothing is written."""
    checkpoint = try_run(model_dir)
    if isinstance(checkpoint, Failure):
        raise ValueError(checkpoint.reason)
    inquiry = Inquiry(task, questions, fixed(num_samples), seed)
    entries, _ = ask_all(inquiry, lambda: open_source(checkpoint), Memory())
    return observations_of(checkpoint, parameters_of(checkpoint), questions, entries)


def evaluate_ladder(
    directory: Path,
    out: Path,
    num_questions: int = NUM_QUESTIONS,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
    open_source: Open = EngineSource,
) -> list[Observation]:
    """Ask every finished run in `directory` the same held-out questions; write a CSV file."""
    rule = fixed(num_samples)
    result = evaluate_models(directory, None, None, out, num_questions, rule, seed, open_source)
    if result.failures:
        raise ValueError("; ".join(f"{broken.name}: {broken.reason}" for broken in result.failures))
    return result.observations[ARITHMETIC.name]


def evaluate_models(
    runs: Path | None,
    models: Path | None,
    task_names: Sequence[str] | None,
    out: Path,
    num_questions: int,
    rule: StoppingRule,
    seed: int,
    open_source: Open = EngineSource,
    verifier: Verifier | None = None,
) -> Evaluation:
    """Ask the runs in a directory, or those of a models.toml, the same questions of each task.

    out: a CSV file; or a directory of one for each task, where tasks or models are named. A file of
    fewer than num_questions is asked whole. verifier: judges answers in place of the tasks.
    """
    if (runs is None) == (models is None):
        raise ValueError(
            "name either a directory of trained models or --models, a TOML file that lists them"
        )
    tasks = [task_named(name) for name in task_names or (ARITHMETIC.name,)]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise ValueError(f"tasks must be different, got {', '.join(names)}")
    outs = {name: out / f"{name}.csv" for name in names}
    if task_names is None and models is None:
        outs = {ARITHMETIC.name: out}
    inquiries = []
    for task in tasks:
        count = (
            min(num_questions, len(task.questions)) if isinstance(task, FileTask) else num_questions
        )
        questions = task.held_out_questions(count, seed)
        if verifier is None:
            inquiries.append(Inquiry(task, questions, rule, seed))
        else:
            judged = VerifiedTask(task, verifier)
            inquiries.append(Inquiry(judged, questions, rule, seed, verifier.source))
    if models is not None:
        return evaluate_checkpoints(read_models(models), inquiries, outs, open_source)
    assert runs is not None
    checkpoints, failures = read_ladder(runs)
    return evaluate_checkpoints(checkpoints, inquiries, outs, open_source, failures)
