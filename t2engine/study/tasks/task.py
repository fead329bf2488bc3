"""What a task is: questions with an answer that can be checked, to train on and to hold out.

A generated task draws its questions; a hash of the prompt decides whether a question is held out,
whatever the seed, so that training never sees one that is asked later.

Raises: ValueError when more held-out questions are asked for than there may be, or than a generator
has.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

HELD_OUT_SHARE = 16  # one question in this many is held out
MAX_HELD_OUT = 10_000  # beyond this, drawing different ones gets slow
MAX_FRUITLESS_DRAWS = 200_000  # in a row without a new held-out question; a second or two


@dataclass(frozen=True)
class Question:
    """`completion` is what training shows after the prompt and what the gold loss is of: working
    and answer, or the answer alone. `answer` is what a sample is held against."""

    prompt: str
    completion: str
    answer: str


class Task(Protocol):
    """A task by its name; `max_tokens` is the most that a sample of it may need.

    `is_right` takes a question and the text of a sample that ended by itself.
    """

    @property
    def name(self) -> str: ...

    @property
    def max_tokens(self) -> int: ...

    def training_questions(self, seed: int) -> Iterator[Question]:
        """An endless stream of questions, none of which is ever held out.

        Raises: ValueError for a task that has nothing to train on.
        """
        ...

    def held_out_questions(self, count: int, seed: int) -> list[Question]:
        """Different held-out questions: the first `count` of a fixed order for each seed, so that
        a longer list begins with a shorter one and what follows has not been asked before."""
        ...

    def is_right(self, question: Question, completion: str) -> bool: ...


@dataclass(frozen=True)
class GeneratedTask:
    """Questions from a generator, whose draws depend on the `random.Random` it is given alone."""

    name: str
    draw: Callable[[random.Random], Question]
    check: Callable[[Question, str], bool]
    max_tokens: int  # one for each character, and the end token

    def training_questions(self, seed: int) -> Iterator[Question]:
        rng = random.Random(f"train {seed}")
        while True:
            question = self.draw(rng)
            if not is_held_out(question.prompt):
                yield question

    def held_out_questions(self, count: int, seed: int) -> list[Question]:
        if count > MAX_HELD_OUT:
            raise ValueError(f"held-out questions must be at most {MAX_HELD_OUT}, got {count}")
        rng = random.Random(f"held out {seed}")
        chosen: dict[str, Question] = {}
        fruitless = 0
        while len(chosen) < count:
            question = self.draw(rng)
            if is_held_out(question.prompt) and question.prompt not in chosen:
                chosen[question.prompt] = question
                fruitless = 0
            elif (fruitless := fruitless + 1) == MAX_FRUITLESS_DRAWS:
                raise ValueError(
                    f"held-out questions of {self.name} must be at most {len(chosen)}, as many as "
                    f"were found, got {count}; ask for fewer"
                )
        return list(chosen.values())

    def is_right(self, question: Question, completion: str) -> bool:
        return self.check(question, completion)


def is_held_out(prompt: str) -> bool:
    return blake2b(prompt.encode(), digest_size=1).digest()[0] % HELD_OUT_SHARE == 0
