"""Ask one checkpoint the questions of one task, by a rule of how many samples, into a ledger.

All questions that want more samples go to the engine at once, round after round, so that it decodes
as many rows as it can until the rarest answers are counted. A question whose round is complete is
in the ledger within a second, with its whole round or not at all.

Units:  gold_nll natural-log loss, summed over the gold answer's tokens and its end.
Raises: ValueError for questions that are not different, or a loss that is no number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Protocol

from t2engine.schema import CompletionOutput
from t2engine.study.evaluation.counting import Checker
from t2engine.study.evaluation.journal import Entry, JournalError
from t2engine.study.evaluation.rule import StoppingRule
from t2engine.study.evaluation.source import Ask, Source
from t2engine.study.tasks.task import Question, Task

SAMPLES_PER_CALL = 16_384  # of the engine; only the last rows of a call decode in thin company
WRITE_SECONDS = 1.0  # between writes to the ledger


@dataclass(frozen=True)
class Inquiry:
    """What is asked of every checkpoint; judge: the user's own verifier, where there is one."""

    task: Task
    questions: Sequence[Question]
    rule: StoppingRule
    seed: int
    judge: str | None = None


class Ledger(Protocol):
    """Where counts are kept as they come; a Journal is one."""

    @property
    def entries(self) -> Mapping[int, Entry]:
        """By question."""
        ...

    def append(self, entries: Sequence[Entry]) -> None: ...


class Memory:
    """A ledger that is gone with the process."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}

    def append(self, entries: Sequence[Entry]) -> None:
        self.entries |= {entry.question: entry for entry in entries}


@dataclass
class Pace:
    """What this process drew, and how long that took; counts that were there are not in it."""

    samples: int = 0
    tokens: int = 0
    seconds: float = 0.0  # of everything but opening the checkpoint
    engine_seconds: float = 0.0  # until the engine's samples were there

    @property
    def share_of_engine_rate(self) -> float | None:
        """Tokens per second over those of the engine alone, in this run; None if it drew none.

        That is `LLM.generate`; benchmarks/evaluation_rate.py times the two side by side.
        """
        return self.engine_seconds / self.seconds if self.tokens else None

    def note(self, sample: CompletionOutput, engine_seconds: float) -> None:
        self.samples += 1
        self.engine_seconds += engine_seconds
        self.tokens += len(sample.token_ids)


def ask_all(
    inquiry: Inquiry,
    open_source: Callable[[], Source],
    ledger: Ledger,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[Entry], Pace]:
    """The counts of every question, in order; the source is opened if anything is to be drawn.

    advance is called once for each question, when it has all its samples.
    """
    entries = starting_entries(inquiry.questions, ledger.entries)
    pace = Pace()
    unfinished = [entry for entry in entries if wanted(inquiry.rule, entry) is not None]
    for _ in range(len(entries) - len(unfinished)):
        advance()
    if unfinished:
        source = open_source()
        began = time.perf_counter()
        unfinished = with_gold_losses(source, inquiry.questions, unfinished)
        while unfinished:
            drawn: list[Entry] = []
            for call in calls_of(inquiry.rule, unfinished):
                drawn += draw(inquiry, source, call, ledger, pace)
            unfinished = [entry for entry in drawn if wanted(inquiry.rule, entry) is not None]
            for _ in range(len(drawn) - len(unfinished)):
                advance()
        pace.seconds = time.perf_counter() - began
    return [ledger.entries[index] for index in range(len(entries))], pace


def wanted(rule: StoppingRule, entry: Entry) -> int | None:
    return rule.next_samples(entry.num_samples, entry.num_correct)


def starting_entries(questions: Sequence[Question], known: Mapping[int, Entry]) -> list[Entry]:
    """What is known of each question, or nothing yet."""
    seen: dict[str, int] = {}
    entries = []
    for index, question in enumerate(questions):
        first = seen.setdefault(question.prompt, index)
        if first != index:
            raise ValueError(
                f"questions must be different, got number {first + 1} again as {index + 1}: "
                f"{question.prompt[:40]!r}; leave one out"
            )
        asked = digest_of_question(question)
        entry = known.get(index, Entry(index, asked, 0, 0, None))
        if entry.asked != asked:
            raise JournalError(
                f"the journal holds samples of another question {index + 1} than "
                f"{question.prompt[:40]!r}; name another --out, or remove the journal to draw "
                "them anew"
            )
        entries.append(entry)
    return entries


def digest_of_question(question: Question) -> str:
    parts = [part.encode() for part in (question.prompt, question.completion, question.answer)]
    framed = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return blake2b(framed, digest_size=8).hexdigest()


def with_gold_losses(
    source: Source, questions: Sequence[Question], entries: Sequence[Entry]
) -> list[Entry]:
    """The same entries; those of questions never asked before get their loss."""
    fresh = [entry.question for entry in entries if entry.num_samples == 0]
    losses = dict(
        zip(fresh, source.gold_losses([questions[i] for i in fresh]) if fresh else [], strict=True)
    )
    for index, loss in losses.items():
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss of {questions[index].completion[:40]!r} must be a finite number, "
                f"got {loss}; the weights are not those of a trained model"
            )
    return [replace(e, gold_nll=losses[e.question]) if e.question in losses else e for e in entries]


def calls_of(rule: StoppingRule, entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries in groups that want at most SAMPLES_PER_CALL samples."""
    calls: list[list[Entry]] = []
    room = 0
    for entry in entries:
        missing = (wanted(rule, entry) or 0) - entry.num_samples
        if not calls or missing > room:
            calls.append([])
            room = SAMPLES_PER_CALL
        calls[-1].append(entry)
        room -= missing
    return calls


def draw(
    inquiry: Inquiry, source: Source, call: Sequence[Entry], ledger: Ledger, pace: Pace
) -> list[Entry]:
    """One round of these questions: their entries after it, which are in the ledger then."""
    questions = [inquiry.questions[entry.question] for entry in call]
    wants = [wanted(inquiry.rule, entry) or 0 for entry in call]
    asks = [
        Ask(question, entry.num_samples, want)
        for question, entry, want in zip(questions, call, wants, strict=True)
    ]
    missing = [ask.want - ask.have for ask in asks]
    entries = list(call)
    complete: list[Entry] = []
    began = written = time.perf_counter()
    with Checker(inquiry.task, questions) as checker:

        def settle(wait: bool) -> None:
            for place, is_right in checker.results(wait):
                missing[place] -= 1
                entry = entries[place]
                entries[place] = replace(entry, num_correct=entry.num_correct + is_right)
                if missing[place] == 0:
                    entries[place] = replace(entries[place], num_samples=wants[place])
                    complete.append(entries[place])

        for sample in source.draw(asks, inquiry.task.max_tokens, inquiry.seed):
            pace.note(sample.output, time.perf_counter() - began)
            checker.add(sample.prompt_index, sample.output)
            settle(wait=False)
            if complete and time.perf_counter() - written > WRITE_SECONDS:
                ledger.append(complete)
                complete.clear()
                written = time.perf_counter()
            began = time.perf_counter()
        settle(wait=True)
    ledger.append(complete)
    assert not any(missing), "the engine draws every sample it is asked for"
    return entries
