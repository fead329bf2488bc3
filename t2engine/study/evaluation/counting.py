"""Count right samples while the engine draws the next ones.

Answers are checked in a thread of their own, many at a time, each different answer of a question
once. A task's `is_right` is therefore called outside the main thread.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from t2engine.schema import CompletionOutput
from t2engine.study.tasks.task import Question, Task

BATCH = 256  # samples checked at once, so that handing them over costs nothing beside drawing them
BATCH_SECONDS = 0.5  # or as many as ended in that time


class Checker:
    """Takes samples as they end, and says of how many of each question what is known."""

    def __init__(self, task: Task, questions: Sequence[Question]) -> None:
        self.task = task
        self.questions = questions
        self.verdicts: dict[tuple[int, str], bool] = {}
        self.waiting: list[tuple[int, str | None]] = []
        self.checks: list[Future[list[tuple[int, bool]]]] = []
        self.sent = time.perf_counter()
        self.abandoned = threading.Event()
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="check")

    def __enter__(self) -> Checker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abandoned.set()  # a slow check holds nobody up once its result is not wanted
        self.pool.shutdown(cancel_futures=True)

    def add(self, question: int, sample: CompletionOutput) -> None:
        self.waiting.append((question, answer_of(sample)))
        if len(self.waiting) >= BATCH or time.perf_counter() > self.sent + BATCH_SECONDS:
            self.send()

    def send(self) -> None:
        if self.waiting:
            self.checks.append(self.pool.submit(self.check, self.waiting))
            self.waiting = []
        self.sent = time.perf_counter()

    def results(self, wait: bool) -> Iterator[tuple[int, bool]]:
        """Question and whether right, of each sample whose check has ended; wait: of all."""
        if wait:
            self.send()
        while self.checks and (wait or self.checks[0].done()):
            yield from self.checks.pop(0).result()

    def check(self, samples: list[tuple[int, str | None]]) -> list[tuple[int, bool]]:
        verdicts = []
        for question, answer in samples:
            if self.abandoned.is_set():
                break
            verdicts.append((question, self.is_right(question, answer)))
        return verdicts

    def is_right(self, question: int, answer: str | None) -> bool:
        if not answer:
            return False
        key = question, answer
        if key not in self.verdicts:
            self.verdicts[key] = self.task.is_right(self.questions[question], answer)
        return self.verdicts[key]


def answer_of(sample: CompletionOutput) -> str | None:
    """None for a sample that was cut off; one that says nothing is wrong, whatever the task."""
    return sample.text if sample.finish_reason == "stop" else None


def count_right(task: Task, question: Question, samples: Sequence[CompletionOutput]) -> int:
    """Samples that ended by themselves, in the right answer."""
    answers = Counter(answer_of(sample) for sample in samples)
    return sum(
        count for answer, count in answers.items() if answer and task.is_right(question, answer)
    )
