"""Questions as rows of tokens, padded on the right, and the order in which training takes them.

Shapes: token_ids [S, T]; S questions, T tokens of the longest or more.
Raises: ValueError for a question that is longer than its row, or has symbols that no token has.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2engine.study.tasks.task import Question
from t2engine.study.tokenizer import BOS_ID, EOS_ID, PAD_ID, encode

WINDOW = 8  # batches whose questions are sorted by length together


@dataclass(frozen=True, eq=False)
class Rows:
    """Of a row, `prompts` counts its beginning token and prompt, `sizes` all but its padding."""

    token_ids: NDArray[np.integer[Any]]  # [S, T]
    prompts: NDArray[np.int64]  # [S]
    sizes: NDArray[np.int64]  # [S]


def encode_rows(questions: Sequence[Question], length: int | None = None) -> Rows:
    """Rows of `length` tokens, or of as many as the longest question has."""
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
    return Rows(token_ids, prompts, sizes)


def window_orders(seed: int, skip: int) -> Iterator[list[int]]:
    """The places of each window's batches in the order they come, drawn anew for each window.

    The first `skip` batches are left out: a window that is skipped whole has no places.
    """
    order = random.Random(f"order {seed}")
    while True:
        places = list(range(WINDOW))
        order.shuffle(places)
        yield places[skip:]
        skip = max(0, skip - WINDOW)
