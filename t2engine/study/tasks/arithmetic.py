"""Multi-step arithmetic, worked left to right as a pocket calculator does.

    prompt  12+47*3-58=      completion  59 177 119

A question is a chain of operations; its completion is every running total, the last of which is the
answer. Only the answer is checked. Small numbers are common and large ones rare, so that what there
is to learn runs from a few frequent sums to thousands of rare products, and the probability of a
right sample spreads over (0, 1) within one model.
"""

from __future__ import annotations

import random

from t2engine.study.tasks.task import GeneratedTask, Question

DIGITS = "0123456789"
OPERATIONS = "+-*"
SYMBOLS = DIGITS + OPERATIONS + "= "

MIN_STEPS = 2
MAX_STEPS = 3
MAX_OPERAND = 99
MAX_TOTAL = 9999  # a running total stays within 0 and this
COMPLETION_TOKENS = MAX_STEPS * (len(str(MAX_TOTAL)) + 1)  # a total and a space or the end, each


def last_number(completion: str) -> str:
    return completion.rsplit(" ", 1)[-1]


def check(question: Question, completion: str) -> bool:
    """Whether a completion ends in the right answer; its intermediate totals are not looked at."""
    return last_number(completion) == question.answer


def draw_question(rng: random.Random) -> Question:
    total = draw_operand(rng)
    prompt, totals = str(total), []
    for _ in range(MIN_STEPS + int(rng.random() * (MAX_STEPS - MIN_STEPS + 1))):
        operation, operand = draw_step(rng, total)
        total = apply(operation, total, operand)
        prompt += operation + str(operand)
        totals.append(str(total))
    return Question(prompt + "=", " ".join(totals), totals[-1])


def draw_step(rng: random.Random, total: int) -> tuple[str, int]:
    """An operation and an operand that keep the total within bounds, by rejection."""
    while True:
        operation = OPERATIONS[int(rng.random() * len(OPERATIONS))]
        operand = draw_operand(rng)
        if 0 <= apply(operation, total, operand) <= MAX_TOTAL:
            return operation, operand


def draw_operand(rng: random.Random) -> int:
    """From 1 to MAX_OPERAND, a number m with a probability near 1/m: small ones are common."""
    return int((MAX_OPERAND + 1) ** rng.random())


def apply(operation: str, total: int, operand: int) -> int:
    if operation == "+":
        return total + operand
    return total - operand if operation == "-" else total * operand


ARITHMETIC = GeneratedTask("arithmetic", draw_question, check, COMPLETION_TOKENS)
