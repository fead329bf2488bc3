"""Batches for training: questions of several tasks in turn, one a row, padded on the right.

The loss is that of completions and their end tokens: nothing about a prompt can be learnt.

Shapes: token_ids, targets [S, T]; S questions, T tokens of the longest, or the length asked for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from t2engine.study.tasks.task import Question, Task
from t2engine.study.tokenizer import BOS_ID, EOS_ID, PAD_ID, encode

WINDOW = 8  # batches whose questions are sorted by length together
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
) -> Iterator[Batch]:
    """The batches of a run, but for its first `skip`.

    The questions of WINDOW batches are drawn together and sorted by length, so that rows of a batch
    need little padding; the batches come in an order drawn anew for each window.
    """
    stream = mixture(tasks, seed)
    order = random.Random(f"order {seed}")
    window = WINDOW * questions_per_step
    while True:
        drawn = list(islice(stream, window))
        places = list(range(WINDOW))
        order.shuffle(places)
        if skip >= WINDOW:
            skip -= WINDOW
            continue
        drawn.sort(key=lambda question: len(question.prompt) + len(question.completion))
        for place in places[skip:]:
            first = place * questions_per_step
            yield batch(drawn[first : first + questions_per_step], length)
        skip = 0


def batch(questions: Sequence[Question], length: int | None = None) -> Batch:
    """The rows of some questions; ValueError for one that is longer than `length`."""
    prompts = np.array([1 + len(question.prompt) for question in questions])
    sizes = prompts + np.array([len(question.completion) + 1 for question in questions])
    longest = int(sizes.max())
    if length is not None and longest > length:
        question = questions[int(sizes.argmax())]
        raise ValueError(
            f"a question must fit a context of {length} tokens, got {longest}: {question.prompt!r}"
        )
    width = length or longest
    token_ids = np.full((len(questions), width), PAD_ID, dtype=np.int64)
    token_ids[:, 0] = BOS_ID
    columns = np.arange(width)
    inside = (columns > 0) & (columns < sizes[:, None] - 1)
    token_ids[inside] = encode("".join(q.prompt + q.completion for q in questions))
    token_ids[np.arange(len(questions)), sizes - 1] = EOS_ID
    targets = np.full_like(token_ids, NO_LOSS)
    shows = (columns >= prompts[:, None] - 1) & (columns < sizes[:, None] - 1)
    targets[:, :-1][shows[:, :-1]] = token_ids[:, 1:][shows[:, :-1]]
    return Batch(torch.from_numpy(token_ids), torch.from_numpy(targets), int(sizes.sum()))
