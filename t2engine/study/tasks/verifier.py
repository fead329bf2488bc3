"""Somebody's own function as the judge of answers, in a process of its own with a time limit.

    module:function or path/to/file.py:function
    function(prompt: str, answer: str, completion: str) -> bool

A call that raises, hangs, ends its process or returns anything but True or False counts as wrong,
and the report says how many did and what the first one said. A process that hung or ended is
started anew, and its function loaded again. What the function prints goes to standard error.

Units: seconds of wall time.
Raises: ValueError when the function cannot be loaded; loading has a limit too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from t2engine.study.tasks.task import Question, Task
from t2engine.study.tasks.verifier_worker import (
    CANNOT_LOAD,
    FALSE,
    NO_TRUTH,
    RAISED,
    READY,
    TRUE,
    serve,
)

CALL_SECONDS = 5.0
LOAD_SECONDS = 60.0
HUNG, ENDED = "hung", "ended its process"


@dataclass(frozen=True)
class VerifierReport:
    """What became of all calls so far; `right` and `wrong` are those that answered."""

    right: int
    wrong: int
    raised: int
    hung: int
    ended: int  # its process
    no_truth: int  # answered neither True nor False
    first_failure: str | None  # in words, with the prompt it was about

    @property
    def calls(self) -> int:
        return self.right + self.wrong + self.failures

    @property
    def failures(self) -> int:
        """Calls without an answer, counted as wrong."""
        return self.raised + self.hung + self.ended + self.no_truth

    def __str__(self) -> str:
        said = f"{self.calls} calls, {self.right} right, {self.wrong} wrong"
        if not self.failures:
            return said
        return (
            f"{said}, {self.failures} failed and counted as wrong ({self.raised} raised, "
            f"{self.hung} hung, {self.ended} ended the process, {self.no_truth} returned neither "
            f"True nor False); the first: {self.first_failure}"
        )


class Verifier:
    """Call it with a question and a completion; close it, or use it in a `with`."""

    def __init__(self, source: str, seconds: float = CALL_SECONDS) -> None:
        if not seconds > 0:
            raise ValueError(f"seconds of a verifier must be above 0, got {seconds}")
        self.source, self.seconds = source, seconds
        self._outcomes: Counter[str] = Counter()
        self._first_failure: str | None = None
        self._start()

    def __call__(self, question: Question, completion: str) -> bool:
        outcome, message = self._ask(question, completion)
        self._outcomes[outcome] += 1
        if outcome not in (TRUE, FALSE) and self._first_failure is None:
            self._first_failure = f"{message}, asked about {question.prompt!r:.200}"
        return outcome == TRUE

    def report(self) -> VerifierReport:
        return VerifierReport(
            right=self._outcomes[TRUE],
            wrong=self._outcomes[FALSE],
            raised=self._outcomes[RAISED],
            hung=self._outcomes[HUNG],
            ended=self._outcomes[ENDED],
            no_truth=self._outcomes[NO_TRUTH],
            first_failure=self._first_failure,
        )

    def close(self) -> None:
        """End the process and what it started, which is in the group that it leads."""
        if self._connection.closed:
            return
        self._connection.close()
        assert self._process.pid is not None
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()  # it has no group yet, or is gone
        self._process.join()

    def __enter__(self) -> Verifier:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, question: Question, completion: str) -> tuple[str, str]:
        """The outcome and what is to be said about it."""
        if self._connection.closed:
            self._start()
        try:
            self._connection.send((question.prompt, question.answer, completion))
            if self._connection.poll(self.seconds):
                outcome, message = self._connection.recv()
                return outcome, message
            failure = HUNG, f"no answer within {self.seconds:g} s"
        except (EOFError, OSError):
            self._process.join(self.seconds)
            failure = ENDED, f"the process ended with code {self._process.exitcode}"
        self.close()
        return failure

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self.source), daemon=True)
        self._process.start()
        theirs.close()  # so that its end of the pipe closes when the process does
        outcome, message = CANNOT_LOAD, f"not loaded within {LOAD_SECONDS:g} s"
        try:
            if self._connection.poll(LOAD_SECONDS):
                outcome, message = self._connection.recv()
        except (EOFError, OSError):
            message = "the process ended while loading it"
        if outcome != READY:
            self.close()
            raise ValueError(
                "verifier must be module:function or path.py:function that can be loaded, "
                f"got {self.source!r}: {message}"
            )


@dataclass(frozen=True)
class VerifiedTask:
    """A task with another judge of its answers."""

    task: Task
    verifier: Verifier

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def max_tokens(self) -> int:
        return self.task.max_tokens

    def training_questions(self, seed: int) -> Iterator[Question]:
        return self.task.training_questions(seed)

    def held_out_questions(self, count: int, seed: int) -> list[Question]:
        return self.task.held_out_questions(count, seed)

    def is_right(self, question: Question, completion: str) -> bool:
        return self.verifier(question, completion)
