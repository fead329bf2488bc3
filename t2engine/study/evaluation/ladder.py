"""Evaluate checkpoints on tasks: one CSV file a task, each whole at the end, journals beside it.

    arithmetic.csv
    arithmetic.csv.journal/pythia-70m.jsonl

A checkpoint that is missing or broken is named at the end and the others are evaluated. Whatever
happens, the same command goes on from the journals; undisturbed or not, it writes the same files.

Units:  N parameters, embeddings included; D training tokens.
Raises: ValueError for a place that cannot be written; JournalError (journal.py), which ends it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from t2engine import __version__
from t2engine.engine.progress import progress_bar
from t2engine.schema import Observation
from t2engine.study.evaluation.ask import Inquiry, Pace, ask_all
from t2engine.study.evaluation.checkpoints import Checkpoint, Failure, digest_of, parameters_of
from t2engine.study.evaluation.journal import Entry, Journal, JournalError, kept_on_failure
from t2engine.study.evaluation.records import write_observations
from t2engine.study.evaluation.source import EngineSource, Source
from t2engine.study.tasks.task import Question

Open = Callable[[Checkpoint], Source]


@dataclass
class Evaluation:
    """What came out: observations and pace by task, and the checkpoints that gave none."""

    observations: dict[str, list[Observation]] = field(default_factory=dict)
    paces: dict[str, dict[str, Pace]] = field(default_factory=dict)  # by task, by checkpoint
    failures: list[Failure] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)  # by task

    def rates(self, task: str) -> dict[str, dict[str, Any]]:
        """How fast each checkpoint was asked in this run."""
        return {
            name: {
                "drawn_tokens": pace.tokens,
                "drawn_samples": pace.samples,
                "seconds": pace.seconds,
                "share_of_engine_rate": pace.share_of_engine_rate,
            }
            for name, pace in self.paces[task].items()
        }


def evaluate_checkpoints(
    checkpoints: Sequence[Checkpoint],
    inquiries: Sequence[Inquiry],
    outs: Mapping[str, Path],
    open_source: Open = EngineSource,
    failures: Iterable[Failure] = (),
    progress: bool | None = None,
) -> Evaluation:
    """outs: the CSV file of each task, by its name; failures: checkpoints found broken before."""
    for out in outs.values():
        if out.is_dir():
            raise ValueError(f"{out} must be a file to write, got a directory")
    names = [checkpoint.name for checkpoint in checkpoints]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"every model must have a name of its own, {repeated[0]!r} is there twice")
    result = Evaluation(failures=list(failures), files=dict(outs))
    for inquiry in inquiries:
        result.observations[inquiry.task.name] = []
        result.paces[inquiry.task.name] = {}
    for checkpoint in checkpoints:
        try_one(checkpoint, inquiries, open_source, result, progress)
    for name, observations in result.observations.items():
        if observations:
            with kept_on_failure(outs[name]):
                write_observations(outs[name], observations)
    return result


def try_one(
    checkpoint: Checkpoint,
    inquiries: Sequence[Inquiry],
    open_source: Open,
    result: Evaluation,
    progress: bool | None,
) -> None:
    """Evaluate a checkpoint, or note why it cannot be."""
    try:
        evaluate_one(checkpoint, inquiries, open_source, result, progress)
    except JournalError:
        raise
    except (ValueError, OSError) as error:
        result.failures.append(Failure(checkpoint.name, str(error)))


def evaluate_one(
    checkpoint: Checkpoint,
    inquiries: Sequence[Inquiry],
    open_source: Open,
    result: Evaluation,
    progress: bool | None,
) -> None:
    weights = digest_of(checkpoint.path)
    N = parameters_of(checkpoint)

    @cache  # opened once for all tasks, and not at all where every answer is there
    def source() -> Source:
        return open_source(checkpoint)

    for inquiry in inquiries:
        task, title = inquiry.task.name, f"{checkpoint.name} {inquiry.task.name}"
        settings = settings_of(checkpoint, weights, inquiry)
        with (
            Journal(journal_path(result.files[task], checkpoint.name), settings) as journal,
            progress_bar(title, len(inquiry.questions), progress) as advance,
        ):
            entries, pace = ask_all(inquiry, source, journal, advance)
        result.paces[task][checkpoint.name] = pace
        result.observations[task] += observations_of(checkpoint, N, inquiry.questions, entries)


def journal_path(out: Path, name: str) -> Path:
    return out.with_name(f"{out.name}.journal") / f"{quote(name, safe='')}.jsonl"


def settings_of(checkpoint: Checkpoint, weights: str, inquiry: Inquiry) -> dict[str, Any]:
    """All that the counts depend on, but the questions, which each entry names."""
    return {
        "model": checkpoint.name,
        "weights": weights,
        "task": inquiry.task.name,
        "seed": inquiry.seed,
        "verifier": inquiry.judge,
        "samples": asdict(inquiry.rule),
        "max_tokens": inquiry.task.max_tokens,
        "dtype": checkpoint.dtype,
        "chat": checkpoint.chat,
        "stop": checkpoint.stop,
        "t2engine": __version__,
    }


def observations_of(
    checkpoint: Checkpoint, N: int, questions: Sequence[Question], entries: Sequence[Entry]
) -> list[Observation]:
    return [
        Observation(
            model=checkpoint.name,
            N=N,
            D=checkpoint.D,
            question=question.prompt,
            num_samples=entry.num_samples,
            num_correct=entry.num_correct,
            gold_nll=None if entry.gold_nll is None else round(entry.gold_nll, 6),
        )
        for question, entry in zip(questions, entries, strict=True)
    ]
