"""Sources that answer without a model, for tests of everything around one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from t2engine.engine.llm import FinishedSample
from t2engine.schema import CompletionOutput, SampleCost
from t2engine.study.evaluation.source import Ask
from t2engine.study.tasks.task import Question

COST = SampleCost(0, 0, 0, 0, 0, 0.0, 1e-6)


def output(index: int, text: str, finish_reason: str = "stop") -> CompletionOutput:
    return CompletionOutput(index, text, (7,), finish_reason, None, None, None, COST)


def chance(question: Question) -> float:
    """Of a right sample, from 0 to 1 with many small ones; a function of the question."""
    return random.Random(question.prompt).random() ** 3


def is_right(question: Question, seed: int, index: int) -> bool:
    return random.Random(f"{seed} {index} {question.prompt}").random() < chance(question)


@dataclass
class Dice:
    """Sample i of a question is right or not by a function of question, seed and i alone."""

    drawn: list[tuple[str, int]] = field(default_factory=list)  # prompt and index
    before_sample: Callable[[int], None] = lambda count: None

    def draw(self, asks: Sequence[Ask], max_tokens: int, seed: int) -> Iterator[FinishedSample]:
        for place, ask in enumerate(asks):
            for index in range(ask.have, ask.want):
                self.before_sample(len(self.drawn))
                self.drawn.append((ask.question.prompt, index))
                right = is_right(ask.question, seed, index)
                text = ask.question.completion if right else "no"
                yield FinishedSample(place, output(index, text))

    def gold_losses(self, questions: Sequence[Question]) -> list[float]:
        return [len(question.completion) / 3 for question in questions]
