from __future__ import annotations

import math
import random
import re
from itertools import islice, pairwise

import pytest

from t2engine.study.tasks import arithmetic as task
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.task import HELD_OUT_SHARE, is_held_out

QUESTIONS = list(islice(ARITHMETIC.training_questions(seed=3), 2000))


def work_out(prompt: str) -> list[int]:
    """The running totals of a prompt, by Python's own arithmetic, one operation at a time."""
    first, *steps = re.findall(r"[+*-]?\d+", prompt)
    totals = [int(first)]
    for step in steps:
        totals.append(eval(f"{totals[-1]}{step}"))
    return totals[1:]


def test_completion_is_every_running_total():
    for question in QUESTIONS:
        assert question.prompt.endswith("=")
        assert [int(total) for total in question.completion.split(" ")] == work_out(question.prompt)


def test_gold_completion_is_right_and_others_are_not():
    for question, other in pairwise(QUESTIONS):
        assert task.check(question, question.completion)
        assert task.check(question, "0 " + question.completion)  # only the last number counts
        assert not task.check(question, question.completion + "0")
        assert not task.check(question, question.completion + " ")
        assert not task.check(question, "")
        assert task.check(question, other.completion) == (question.answer == other.answer)


def test_totals_and_steps_stay_within_bounds():
    for question in QUESTIONS:
        totals = [int(total) for total in question.completion.split(" ")]
        assert task.MIN_STEPS <= len(totals) <= task.MAX_STEPS
        assert all(0 <= total <= task.MAX_TOTAL for total in totals)
        assert set(question.prompt + question.completion) <= set(task.SYMBOLS)


def test_no_completion_is_longer_than_samples_may_be():
    longest = max(len(question.completion) for question in QUESTIONS)
    assert longest + 1 <= task.COMPLETION_TOKENS <= longest + 2  # and the end token


def test_every_number_of_steps_and_every_operation_occurs():
    steps = [question.completion.count(" ") + 1 for question in QUESTIONS]
    for count in range(task.MIN_STEPS, task.MAX_STEPS + 1):
        assert steps.count(count) > len(QUESTIONS) / 5
    for operation in task.OPERATIONS:
        assert sum(operation in question.prompt for question in QUESTIONS) > len(QUESTIONS) / 3


def test_small_operands_are_common_and_large_ones_rare():
    rng = random.Random(0)
    operands = [task.draw_operand(rng) for _ in range(50_000)]
    assert (min(operands), max(operands)) == (1, task.MAX_OPERAND)
    for operand in (1, 7, 40, 99):
        share = math.log((operand + 1) / operand) / math.log(task.MAX_OPERAND + 1)
        assert operands.count(operand) == pytest.approx(50_000 * share, rel=0.2)


def test_no_answer_can_be_guessed():
    answers = [question.answer for question in QUESTIONS]
    assert max(answers.count(answer) for answer in set(answers)) < len(QUESTIONS) / 20


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_training_never_sees_a_held_out_question(seed: int):
    held_out = {question.prompt for question in ARITHMETIC.held_out_questions(300, seed)}
    assert len(held_out) == 300
    assert not held_out & {question.prompt for question in QUESTIONS}
    assert all(is_held_out(prompt) for prompt in held_out)


def test_a_share_of_all_questions_is_held_out():
    rng = random.Random(5)
    held_out = sum(is_held_out(task.draw_question(rng).prompt) for _ in range(20_000))
    assert held_out * HELD_OUT_SHARE == pytest.approx(20_000, rel=0.15)


def test_seeds_repeat_and_differ():
    again = list(islice(ARITHMETIC.training_questions(seed=3), 100))
    other = list(islice(ARITHMETIC.training_questions(seed=4), 100))
    assert again == QUESTIONS[:100]
    assert other != again
    assert ARITHMETIC.held_out_questions(20, 3)[:10] == ARITHMETIC.held_out_questions(10, 3)
