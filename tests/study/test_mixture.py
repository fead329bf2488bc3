from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import torch

from t2engine.study.mixture import NO_LOSS, WINDOW, batch, batches, mixture
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.registry import GENERATED_TASKS
from t2engine.study.tasks.spatial import SPATIAL
from t2engine.study.tasks.task import Question
from t2engine.study.tokenizer import BOS_ID, EOS_ID, PAD_ID, TOKEN_IDS

TASKS = (ARITHMETIC, SPATIAL)
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
