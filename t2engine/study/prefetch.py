"""Windows of training questions, drawn ahead by a process for each task.

One process draws and encodes some 1.5M tokens a second. Here the process of each task
sends what the task adds to a window, already encoded, and the rows are put together in the order of
the mixture, so that neither chance nor speed changes a batch. A process waits until what it sent is
taken, and has the next window ready then.

Raises: ValueError in a task's own words; RuntimeError when a process ends otherwise.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import numpy as np

from t2engine.study.rows import Rows, encode_rows
from t2engine.study.tasks.task import Task
from t2engine.study.tokenizer import PAD_ID


@dataclass(frozen=True)
class Share:
    """The rows of a window that one of `num_tasks` tasks fills: tasks take turns throughout."""

    task_index: int
    num_tasks: int
    window_size: int

    def places(self, window: int) -> range:
        first = (self.task_index - window * self.window_size) % self.num_tasks
        return range(first, self.window_size, self.num_tasks)


@dataclass(frozen=True, eq=False)
class Source:
    task: Task
    share: Share
    process: SpawnProcess
    rows: Connection

    def receive(self) -> Rows:
        try:
            received = self.rows.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(
                f"the process that draws questions of {self.task.name} ended with exit code "
                f"{self.process.exitcode}; what it said is above"
            ) from None
        if isinstance(received, str):
            raise ValueError(received)
        assert isinstance(received, Rows)
        return received


def prefetched_windows(
    tasks: Sequence[Task], seed: int, window_size: int, *, skip: int, length: int | None
) -> Generator[Rows, None, None]:
    """The windows of the mixture but for the first `skip`; closing ends the processes."""
    sources: list[Source] = []
    try:
        for task_index, task in enumerate(tasks):
            share = Share(task_index, len(tasks), window_size)
            sources.append(start(task, share, seed, skip, length))
        for window in count(skip):
            yield join_rows(sources, window, window_size)
    finally:
        for source in sources:
            source.rows.close()
            source.process.terminate()
        for source in sources:
            source.process.join()


def start(task: Task, share: Share, seed: int, skip: int, length: int | None) -> Source:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    arguments = (sending, task, share, seed, skip, length)
    process = context.Process(target=send_rows, args=arguments, daemon=True)
    process.start()
    sending.close()  # so that the other end's death is the end of the pipe
    return Source(task, share, process, receiving)


def send_rows(
    sending: Connection, task: Task, share: Share, seed: int, skip: int, length: int | None
) -> None:
    """What the process of a task does until nobody listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with who started it
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        stream = task.training_questions(seed)
        for window in count():
            drawn = list(islice(stream, len(share.places(window))))
            if window >= skip:
                rows = encode_rows(drawn, length)
                sending.send(Rows(rows.token_ids.astype(np.uint8), rows.prompts, rows.sizes))
    except ValueError as error:
        sending.send(str(error))
    except BrokenPipeError:
        return


def join_rows(sources: Sequence[Source], window: int, window_size: int) -> Rows:
    received = [source.receive() for source in sources]
    width = max(rows.token_ids.shape[1] for rows in received)
    token_ids = np.full((window_size, width), PAD_ID, dtype=np.uint8)
    prompts, sizes = np.zeros((2, window_size), dtype=np.int64)
    for source, rows in zip(sources, received, strict=True):
        places = np.array(source.share.places(window))
        token_ids[places, : rows.token_ids.shape[1]] = rows.token_ids
        prompts[places], sizes[places] = rows.prompts, rows.sizes
    return Rows(token_ids, prompts, sizes)


def end_with_parent() -> None:
    """End this process at once when the one that started it has gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
