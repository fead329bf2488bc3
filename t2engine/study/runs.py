"""Train many runs, each in a process of its own, into a directory that any later call continues.

A run is a directory, written whole or not at all: the model in Hugging Face's layout, and
`training.json`, which says what was trained and how. A finished run is known by that file and not
repeated. Beside the directories of finished runs lie the states of unfinished ones, hidden files
that go when their run ends.

Raises: ValueError when the directory of a run holds something else.
"""

from __future__ import annotations

import json
import multiprocessing
import queue
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from t2engine.model.config import read_config
from t2engine.study.checkpoint import atomic_directory, load_model, save_model, write_json
from t2engine.study.ladder import Recipe, Run, finetuned
from t2engine.study.prefetch import end_with_parent
from t2engine.study.tasks.registry import task_named
from t2engine.study.training import SECONDS_BETWEEN_STATES, differences, partial_of, plain, train

RECORD = "training.json"


@dataclass(frozen=True)
class News:
    """What the process of a run tells: work done, in N x tokens, or at the end its outcome."""

    work: int
    outcome: str | None = None


class LostRunError(RuntimeError):
    """A run ended without its model; what it had is kept, and the same command goes on from it."""


class Listener(Protocol):
    """Who is told what becomes of a run: by its name, News."""

    def put(self, told: tuple[str, News], /) -> None: ...


class TrainRuns(Protocol):
    """Trains runs into a directory: `train_runs`, or what does the same on other machines."""

    def __call__(
        self,
        runs: Sequence[Run],
        directory: Path,
        jobs: int,
        *,
        device: str = "cpu",
        title: str = "training",
    ) -> None: ...


def train_runs(
    runs: Sequence[Run],
    directory: Path,
    jobs: int,
    *,
    device: str = "cpu",
    title: str = "training",
    seconds_between_states: float = SECONDS_BETWEEN_STATES,
) -> None:
    """Train every run that is not finished yet, `jobs` at a time, each in a process of one thread.

    One thread, so that neither the number of cores nor of jobs changes a model. Raises LostRunError
    when a process ends without its model; the others are stopped and keep their states.
    """
    waiting = unfinished(runs, directory)
    if not waiting:
        return
    context = multiprocessing.get_context("spawn")
    running: dict[str, SpawnProcess] = {}
    news: Queue[tuple[str, News]] = context.Queue()
    total, counted = len(waiting), f"{title}, {{}} of {len(waiting)} runs"
    with show_progress() as progress:
        bar = progress.add_task(counted.format(0), total=sum(run.N * run.D for run in waiting))
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run = waiting.pop(0)
                    arguments = (directory, run, news, device, seconds_between_states)
                    running[run.name] = context.Process(target=train_into, args=arguments)
                    running[run.name].start()
                for name, told in hear(news, running):
                    progress.advance(bar, told.work)
                    if told.outcome is not None:
                        running.pop(name).join()
                        progress.console.print(name, told.outcome)
                        done = total - len(waiting) - len(running)
                        progress.update(bar, description=counted.format(done))
        finally:
            for process in running.values():
                process.terminate()
                process.join()


def hear(
    news: Queue[tuple[str, News]], running: dict[str, SpawnProcess]
) -> Iterator[tuple[str, News]]:
    """What the processes have told within a second."""
    dead = [name for name, process in running.items() if not process.is_alive()]
    try:
        yield news.get(timeout=1)
        while True:
            yield news.get_nowait()
    except queue.Empty:
        lost = [name for name in dead if name in running]
    if lost:
        code = running[lost[0]].exitcode
        raise LostRunError(
            f"the process that trained {lost[0]} ended with exit code {code} before its model was "
            "written; what it said is above. Run the same command again to go on"
        )


def unfinished(runs: Sequence[Run], directory: Path) -> list[Run]:
    """The runs that a directory does not hold, which is made ready for them."""
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} must be a directory or absent, got a file")
    waiting = [run for run in runs if not is_finished(run, directory / run.name)]
    if waiting:
        directory.mkdir(parents=True, exist_ok=True)
        remove_remains(directory, waiting)
    return waiting


def remove_remains(directory: Path, runs: Sequence[Run]) -> None:
    """Directories that were being written when a process was killed."""
    for run in runs:
        for path in directory.glob(f".{run.name}.*"):
            if path.is_dir():
                shutil.rmtree(path)


def train_into(
    directory: Path,
    run: Run,
    news: Listener,
    device: str = "cpu",
    seconds_between_states: float = SECONDS_BETWEEN_STATES,
) -> None:
    """Train one run in this process and write its directory."""
    if multiprocessing.parent_process() is not None:
        threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    state = directory / f".{run.name}.state"
    model, outcome = train(
        run,
        [task_named(name) for name in run.tasks],
        lambda tokens: news.put((run.name, News(run.N * tokens))),
        state=state,
        base=None if run.base is None else load_model(Path(run.base)),
        device=device,
        seconds_between_states=seconds_between_states,
    )
    if run.base is not None:
        outcome = after_finetuning(outcome, read_record(Path(run.base)))
    with atomic_directory(directory / run.name) as partial:
        save_model(partial, model)
        write_json(partial / RECORD, {"run": plain(run)} | outcome)
    for left in (state, partial_of(state)):
        left.unlink(missing_ok=True)
    words = f"loss {outcome['losses'][-1][1]:.4f} after {outcome['seconds']:.0f} s"
    news.put((run.name, News(0, words)))


def after_finetuning(outcome: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """D stays what the model was trained for; FLOPs and seconds are of training and fine-tuning."""
    return outcome | {
        "D": base["D"],
        "finetuning_tokens": outcome["D"],
        "flops": base["flops"] + outcome["flops"],
        "seconds": base["seconds"] + outcome["seconds"],
    }


def finetuned_runs(directory: Path, task: str, tokens: int) -> list[Run]:
    """A run of fine-tuning for each finished run in a directory, or the one that it is."""
    task_named(task)  # refuses one that does not exist
    paths = sorted(path.parent for path in directory.glob(f"[!.]*/{RECORD}"))
    if (directory / RECORD).is_file():
        paths = [directory]
    if not paths:
        raise ValueError(f"{directory} must be a finished run or hold some, found no {RECORD}")
    found = []
    for path in paths:
        fields = read_record(path)["run"]
        recipe = Recipe(**fields["recipe"] | {"betas": tuple(fields["recipe"]["betas"])})
        config = read_config(path)
        run = Run(path.name, fields["N"], fields["D"], tuple(fields["tasks"]), config, recipe)
        found.append(finetuned(run, str(path), task, tokens))
    return sorted(found, key=lambda run: run.N, reverse=True)


def show_progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    stderr = Console(stderr=True)
    return Progress(*columns, *times, speed_estimate_period=300, console=stderr)


def is_finished(run: Run, directory: Path) -> bool:
    """Whether `directory` holds this very run; False when there is no such directory."""
    if not directory.exists():
        return False
    record = directory / RECORD
    if not record.is_file():
        raise ValueError(f"{directory} must be absent or a finished run, got one without {RECORD}")
    different = differences(run, read_record(directory)["run"])
    if different:
        raise ValueError(
            f"{directory} holds another run, which differs in {', '.join(different)}; "
            "choose another directory or remove it"
        )
    return True


def read_record(directory: Path) -> dict[str, Any]:
    """What `training.json` says: the run asked for, and N, D and seconds as they came out."""
    path = directory / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a JSON object: {error}") from error
    missing = {"run", "N", "D"} - set(record) if isinstance(record, dict) else {"run", "N", "D"}
    if missing:
        raise ValueError(f"{path} must say {', '.join(sorted(missing))}, got none")
    return dict(record)
