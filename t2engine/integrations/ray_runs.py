"""Runs spread over machines with Ray, into a directory that all of them share.

Each run is a Ray task that trains as a process of `train_runs` does, in one thread, so that equal
machines give equal models. Ray starts the task of a machine that was lost anew, and the state file
of the run makes it go on. While a run trains, a hidden file beside its state tells the driver how
far it is.

Raises: ValueError without Ray or its cluster, and for a base that other machines cannot find.
Source: docs.ray.io, Ray Core API: init, remote, wait, get; exceptions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2engine.files import write_text
from t2engine.study.ladder import Run
from t2engine.study.runs import (
    LostRunError,
    News,
    TrainRuns,
    is_finished,
    remove_remains,
    show_progress,
    train_into,
    unfinished,
)
from t2engine.study.training import SECONDS_BETWEEN_STATES

RETRIES = 3  # of a task whose process or machine was lost


@dataclass
class Account:
    """What the task of a run tells: its work, N x tokens, in a file; at the end its outcome."""

    path: Path
    work: int = 0
    outcome: str = ""

    def put(self, told: tuple[str, News], /) -> None:
        _, news = told
        self.work += news.work
        self.outcome = news.outcome or self.outcome
        write_text(self.path, str(self.work))


def trainer_on_ray(address: str) -> TrainRuns:
    """`train_runs` on a cluster: with `jobs` models at a time on each GPU, or a core each."""

    def train(
        runs: Sequence[Run],
        directory: Path,
        jobs: int,
        *,
        device: str = "cpu",
        title: str = "training",
    ) -> None:
        gpus = 0.0 if device == "cpu" else 1 / jobs
        train_runs_on_ray(
            runs, directory, address=address, gpus_per_run=gpus, device=device, title=title
        )

    return train


def train_runs_on_ray(
    runs: Sequence[Run],
    directory: Path,
    *,
    address: str,
    cpus_per_run: float = 1,
    gpus_per_run: float = 0.0,
    device: str = "cpu",
    title: str = "training",
    seconds_between_states: float = SECONDS_BETWEEN_STATES,
) -> None:
    """Train every run that is not finished yet, as many at a time as the cluster has room for.

    Raises LostRunError at the end when a run failed, naming it; the others are trained.
    """
    ray = import_ray()
    directory = directory.absolute()  # tasks run elsewhere
    check_bases(runs)
    waiting = unfinished(runs, directory)
    if not waiting:
        return
    with cluster(ray, address):
        trained = ray.remote(num_cpus=cpus_per_run, num_gpus=gpus_per_run, max_retries=RETRIES)(
            train_in_task
        )
        tasks = {
            trained.remote(directory, run, device, seconds_between_states): run for run in waiting
        }
        failures = follow(ray, tasks, directory, title)
    if failures:
        words = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise LostRunError(
            f"{len(failures)} of {len(waiting)} runs failed: {words}. Run the same command again "
            "to go on"
        )


def follow(ray: Any, tasks: dict[Any, Run], directory: Path, title: str) -> dict[str, str]:
    """Show how far the tasks are until all have ended; returns the reasons of those that failed."""
    running, failures, done = dict(tasks), dict[str, str](), 0
    counted = f"{title}, {{}} of {len(tasks)} runs"
    with show_progress() as progress:
        total = sum(run.N * run.D for run in tasks.values())
        bar = progress.add_task(counted.format(0), total=total)
        while running:
            ended, _ = ray.wait(list(running), timeout=1)
            for task in ended:
                run = running.pop(task)
                try:
                    progress.console.print(run.name, ray.get(task))
                    done += run.N * run.D
                except ray.exceptions.RayError as error:
                    failures[run.name] = reason_of(error)
                    progress.console.print(run.name, "failed:", failures[run.name])
                work_file(directory, run).unlink(missing_ok=True)
            finished = len(tasks) - len(running) - len(failures)
            completed = done + sum(work_of(directory, run) for run in running.values())
            progress.update(bar, completed=completed, description=counted.format(finished))
    return failures


def train_in_task(directory: Path, run: Run, device: str, seconds_between_states: float) -> str:
    """Train one run on the machine this is called on; returns its outcome in words."""
    if is_finished(run, directory / run.name):
        return "was finished"  # by a task that was lost before it could say so
    remove_remains(directory, [run])
    account = Account(work_file(directory, run))
    train_into(directory, run, account, device, seconds_between_states)
    return account.outcome


def work_file(directory: Path, run: Run) -> Path:
    return directory / f".{run.name}.work"


def work_of(directory: Path, run: Run) -> int:
    path = work_file(directory, run)
    return int(path.read_text()) if path.exists() else 0


def reason_of(error: Any) -> str:
    """What a task raised, on one line, without Ray's traceback around it."""
    cause = getattr(error, "cause", None)
    words = str(error) if cause is None else f"{type(cause).__name__}: {cause}"
    return " ".join(words.split())


def check_bases(runs: Sequence[Run]) -> None:
    for run in runs:
        if run.base is not None and not Path(run.base).is_absolute():
            raise ValueError(
                f"the base of {run.name} must be an absolute path, which every machine finds, got "
                f"{run.base!r}; name the directory of the trained models by its whole path"
            )


@contextmanager
def cluster(ray: Any, address: str) -> Iterator[None]:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except ConnectionError as error:
        raise ValueError(
            f"the address of a Ray cluster must be that of a running one, auto, or local, got "
            f"{address!r}: {error}; `ray start --head` starts one"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ValueError(
            "training on several machines needs Ray (pip install 't2engine[ray]')"
        ) from None
    return ray
