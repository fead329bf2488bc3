from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
import torch

from t2engine.study.mixture import NO_LOSS, batch, batches, mixture, prefetched
from t2engine.study.rows import WINDOW
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.registry import GENERATED_TASKS
from t2engine.study.tasks.spatial import SPATIAL
from t2engine.study.tasks.task import Question
from t2engine.study.tokenizer import BOS_ID, EOS_ID, PAD_ID, TOKEN_IDS

TASKS = (ARITHMETIC, SPATIAL)
ROOT = Path(__file__).parents[2]
SCRIPT = """
from itertools import islice
from t2engine.study.mixture import prefetched
from t2engine.study.tasks.arithmetic import ARITHMETIC
import multiprocessing, os, signal
if __name__ == "__main__":
    stream = prefetched((ARITHMETIC,), 0, 4)
    next(stream)
    print(multiprocessing.active_children()[0].pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
QUESTIONS = list(islice(mixture(GENERATED_TASKS, seed=0), 32))


def ids(text: str) -> list[int]:
    return [TOKEN_IDS[symbol] for symbol in text]


@pytest.mark.parametrize("length", [None, 64])
def test_targets_are_the_next_tokens_of_completions(length: int | None):
    made = batch(QUESTIONS, length)
    total = 0
    for row, targets, question in zip(made.token_ids, made.targets, QUESTIONS, strict=True):
        tokens = [BOS_ID, *ids(question.prompt + question.completion), EOS_ID]
        answer = [*ids(question.completion), EOS_ID]
        start = len(question.prompt)  # the token before the completion predicts its first
        total += len(tokens)
        assert row.tolist() == tokens + [PAD_ID] * (len(row) - len(tokens))
        kept = [NO_LOSS] * start + answer
        assert targets.tolist() == kept + [NO_LOSS] * (len(row) - len(kept))
    assert made.num_tokens == total
    longest = max(len(q.prompt + q.completion) + 2 for q in QUESTIONS)
    assert made.token_ids.shape == (32, length or longest)


def test_tasks_take_turns():
    questions = list(islice(mixture(TASKS, seed=3), 10))
    assert questions[0::2] == list(islice(ARITHMETIC.training_questions(3), 5))
    assert questions[1::2] == list(islice(SPATIAL.training_questions(3), 5))


def test_a_window_holds_the_questions_of_the_mixture_with_little_padding():
    made = list(islice(batches(TASKS, 0, 16), WINDOW))
    rows = Counter(
        tuple(t for t in row.tolist() if t != PAD_ID) for b in made for row in b.token_ids
    )
    drawn = islice(mixture(TASKS, 0), 16 * WINDOW)
    assert rows == Counter((BOS_ID, *ids(q.prompt + q.completion), EOS_ID) for q in drawn)
    used = sum(b.num_tokens for b in made)
    assert used / sum(b.token_ids.numel() for b in made) > 0.85
    widths = [b.token_ids.shape[1] for b in made]
    assert widths != sorted(widths)  # not the short ones first


@pytest.mark.parametrize("skip", [1, 5, WINDOW, WINDOW + 3, 3 * WINDOW])
def test_skipping_goes_on_where_it_stopped(skip: int):
    whole = list(islice(batches(TASKS, 1, 4), skip + 4))[skip:]
    for one, other in zip(whole, batches(TASKS, 1, 4, skip=skip), strict=False):
        assert torch.equal(one.token_ids, other.token_ids)
        assert torch.equal(one.targets, other.targets)


def test_what_does_not_fit_is_named():
    long = Question("1" * 70, "2", "2")
    with pytest.raises(ValueError, match="must fit a context of 64 tokens, got 73"):
        batch([long], 64)
    with pytest.raises(ValueError, match=r"read the symbols .* got 'Z' in 'Zoo1'"):
        batch([Question("Zoo", "1", "1")])


@dataclass(frozen=True)
class Broken:
    """A task of two questions, after which there is an error."""

    name: str
    error: type[BaseException]

    def training_questions(self, seed: int) -> Iterator[Question]:
        yield from [Question("1+1=", "2", "2")] * 2
        raise self.error("there is no third question")


@pytest.mark.parametrize(
    ("skip", "num_tasks", "length"), [(0, 2, None), (5, 3, 64), (WINDOW, 4, None), (19, 4, 64)]
)
def test_prefetched_batches_are_those_drawn_here(skip: int, num_tasks: int, length: int | None):
    """Three tasks: a window of 32 questions begins with another task each time."""
    arguments = (GENERATED_TASKS[:num_tasks], 1, 4)
    wanted = batches(*arguments, skip=skip, length=length)
    with closing(prefetched(*arguments, skip=skip, length=length)) as stream:
        for one, other in zip(islice(wanted, 2 * WINDOW + 1), stream, strict=False):
            assert torch.equal(one.token_ids, other.token_ids)
            assert torch.equal(one.targets, other.targets)
            assert one.num_tokens == other.num_tokens


def test_processes_end_when_nobody_listens():
    stream = prefetched(TASKS, 0, 4)
    next(stream)
    started = multiprocessing.active_children()
    assert len(started) == 2
    stream.close()
    assert multiprocessing.active_children() == []


def test_processes_end_with_the_one_that_started_them():
    command = [sys.executable, "-c", SCRIPT]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + 30
    while is_alive(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(int(done.stdout))


def is_alive(pid: int) -> bool:
    """Whether there is such a process; one that ended and that nobody waited for is none."""
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_stops_a_task_reaches_who_trains():
    with pytest.raises(ValueError, match=r"^there is no third question$"):
        next(prefetched((ARITHMETIC, Broken("broken", ValueError)), 0, 4))
    with pytest.raises(RuntimeError, match="questions of broken ended with exit code 1; what it"):
        next(prefetched((ARITHMETIC, Broken("broken", KeyError)), 0, 4))
    long = r"must fit a context of 8 tokens, got \d+: '"
    with pytest.raises(ValueError, match=long):
        next(prefetched(TASKS, 0, 4, length=8))
    assert multiprocessing.active_children() == []
