"""Whether the plan kept its promise: trained plans at the same measured cost, side by side.

    cost(k) = training + Q (prompt + k sample)          all measured on the trained models
    k       the samples per question that spend the budget, each plan its own

pass@k is the unbiased estimate from the samples of fresh questions, a real k lying between its
neighbours in proportion. All plans are asked the same questions, so a difference is taken
question by question, and its interval is a bootstrap over questions, each task its own.

Units:  costs in FLOPs as the meter counts them; seconds beside them.
Shapes: [Q] over the fresh questions of all tasks.
Raises: ValueError when training alone passes the budget, or too few samples were drawn for k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2engine.laws.gamma import Array
from t2engine.laws.passk import unbiased_pass_at_k

LEVEL = 0.95
NUM_RESAMPLES = 4000


@dataclass(frozen=True)
class Spent:
    """What one plan's model cost: training whole, a question's prompt, one of its samples."""

    train: float
    prompt: float
    sample: float

    def total(self, questions: float, k: float) -> float:
        return self.train + questions * (self.prompt + k * self.sample)

    def samples_for(self, budget: float, questions: float) -> float:
        k = ((budget - self.train) / questions - self.prompt) / self.sample
        if k < 1:
            raise ValueError(
                f"the budget of {budget:.3g} must leave one sample for each of {questions:g} "
                f"questions, training took {self.train:.3g} of it: k = {k:.3g}"
            )
        return k


@dataclass(frozen=True, eq=False)
class Trial:
    """One trained plan asked the fresh questions. `task` names each question's task, [Q]."""

    plan: str
    seed: int
    N: int
    D: int
    flops: Spent
    seconds: Spent
    task: tuple[str, ...]
    num_samples: NDArray[np.int64]
    num_correct: NDArray[np.int64]

    def pass_at(self, k: float) -> Array:
        """Of every question, [Q]."""
        low = math.floor(k)
        part = k - low
        at_low = unbiased_pass_at_k(self.num_samples, self.num_correct, low)
        if part == 0:
            return at_low
        at_high = unbiased_pass_at_k(self.num_samples, self.num_correct, low + 1)
        return np.asarray((1 - part) * at_low + part * at_high, float)


@dataclass(frozen=True)
class Outcome:
    """What a trial showed beside what was forecast of it."""

    plan: str
    seed: int
    N: int
    D: int
    k: float
    flops: float
    seconds: float
    pass_at_k: float
    by_task: dict[str, float]
    forecast: float
    band: tuple[float, float]

    @property
    def error(self) -> float:
        return self.forecast - self.pass_at_k

    @property
    def held(self) -> bool:
        return self.band[0] <= self.pass_at_k <= self.band[1]


@dataclass(frozen=True)
class Difference:
    """T² less another plan, with its interval; `seed` None for the mean over seeds."""

    other: str
    seed: int | None
    mean: float
    low: float
    high: float

    @property
    def words(self) -> str:
        if self.low > 0:
            return "the T² plan is better"
        if self.high < 0:
            return "the T² plan is worse: the claim fails here"
        return "no difference can be told"


def compare(
    t2: Sequence[Trial], others: Sequence[Trial], budget: float, questions: float
) -> list[Difference]:
    """A difference for each pair of trials, and their mean last."""
    tasks = np.array(t2[0].task)
    rows = []
    for one, other in zip(t2, others, strict=True):
        if one.task != other.task:
            raise ValueError("both plans must be asked the same questions in the same order")
        rows.append(
            one.pass_at(one.flops.samples_for(budget, questions))
            - other.pass_at(other.flops.samples_for(budget, questions))
        )
    seeds: list[int | None] = [trial.seed for trial in t2]
    if len(rows) > 1:
        rows.append(np.mean(rows, axis=0))
        seeds.append(None)
    name = others[0].plan
    return [difference(name, seed, row, tasks) for seed, row in zip(seeds, rows, strict=True)]


def difference(other: str, seed: int | None, values: Array, tasks: NDArray[np.str_]) -> Difference:
    """The mean over tasks of each one's mean, and a percentile bootstrap within tasks."""
    rng = np.random.default_rng(0)
    means, draws = [], []
    for name in np.unique(tasks):
        own = values[tasks == name]
        means.append(float(own.mean()))
        draws.append(own[rng.integers(own.size, size=(NUM_RESAMPLES, own.size))].mean(axis=1))
    low, high = np.quantile(np.mean(draws, axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(other, seed, float(np.mean(means)), float(low), float(high))


def outcome(
    trial: Trial, budget: float, questions: float, forecast: float, band: tuple[float, float]
) -> Outcome:
    k = trial.flops.samples_for(budget, questions)
    values = trial.pass_at(k)
    by_task = task_means(values, trial.task)
    return Outcome(
        plan=trial.plan,
        seed=trial.seed,
        N=trial.N,
        D=trial.D,
        k=k,
        flops=trial.flops.total(questions, k),
        seconds=trial.seconds.total(questions, k),
        pass_at_k=float(np.mean(list(by_task.values()))),
        by_task=by_task,
        forecast=forecast,
        band=band,
    )


def task_means(values: Array, task: Sequence[str]) -> dict[str, float]:
    names = np.array(task)
    return {str(name): float(values[names == name].mean()) for name in np.unique(names)}
