"""Batches for training: questions of several tasks in turn, one a row, padded on the right.

The loss is that of completions and their end tokens: nothing about a prompt can be learnt.

Shapes: token_ids, targets [S, T]; S questions, T tokens of the longest, or the length asked for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from t2engine.study.prefetch import prefetched_windows
from t2engine.study.rows import WINDOW, Rows, encode_rows, window_orders
from t2engine.study.tasks.task import Question, Task

NO_LOSS = -100  # the target of a token that carries no loss


@dataclass(frozen=True)
class Batch:
    """token_ids and, where the next token belongs to a completion, that token: both [S, T]."""

    token_ids: Tensor
    targets: Tensor
    num_tokens: int  # padding not counted


def mixture(tasks: Sequence[Task], seed: int) -> Iterator[Question]:
    """A question of each task in turn, for ever."""
    streams = [task.training_questions(seed) for task in tasks]
    while True:
        for stream in streams:
            yield next(stream)


def batches(
    tasks: Sequence[Task],
    seed: int,
    questions_per_step: int,
    *,
    skip: int = 0,
    length: int | None = None,
) -> Generator[Batch, None, None]:
    """The batches of a run, but for its first `skip`.

    The questions of WINDOW batches are drawn together and sorted by length, so that rows of a batch
    need little padding; the batches come in an order drawn anew for each window.
    """
    stream = mixture(tasks, seed)
    for places in window_orders(seed, skip):
        drawn = list(islice(stream, WINDOW * questions_per_step))
        drawn.sort(key=lambda question: len(question.prompt) + len(question.completion))
        for place in places:
            first = place * questions_per_step
            yield batch(drawn[first : first + questions_per_step], length)


def prefetched(
    tasks: Sequence[Task],
    seed: int,
    questions_per_step: int,
    *,
    skip: int = 0,
    length: int | None = None,
) -> Generator[Batch, None, None]:
    """The very batches of `batches`, their questions drawn ahead by a process for each task."""
    orders = (places for places in window_orders(seed, skip) if places)
    windows = prefetched_windows(
        tasks, seed, WINDOW * questions_per_step, skip=skip // WINDOW, length=length
    )
    with closing(windows):
        for places, rows in zip(orders, windows, strict=False):  # both endless
            by_size = np.argsort(rows.sizes, kind="stable")
            for place in places:
                first = place * questions_per_step
                chosen = by_size[first : first + questions_per_step]
                sizes = rows.sizes[chosen]
                token_ids = rows.token_ids[chosen, : length or sizes.max()]
                yield batch_of(Rows(token_ids, rows.prompts[chosen], sizes))


def batch(questions: Sequence[Question], length: int | None = None) -> Batch:
    """The rows of some questions; ValueError for one that is longer than `length`."""
    return batch_of(encode_rows(questions, length))


def batch_of(rows: Rows) -> Batch:
    token_ids = rows.token_ids.astype(np.int64, copy=False)
    columns = np.arange(token_ids.shape[1])
    shows = (columns >= rows.prompts[:, None] - 1) & (columns < rows.sizes[:, None] - 1)
    targets = np.full_like(token_ids, NO_LOSS)
    targets[:, :-1][shows[:, :-1]] = token_ids[:, 1:][shows[:, :-1]]
    return Batch(torch.from_numpy(token_ids), torch.from_numpy(targets), int(rows.sizes.sum()))
