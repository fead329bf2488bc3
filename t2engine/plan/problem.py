"""A planning problem: maximise pass@k over (N, D, k) within a budget.

    one budget    train(N, D) + serve(N, k) <= C             for all Q questions
    two budgets   train(N, D) <= C_train,  serve(N, k) <= C_inf   C_inf for one question

Where sampling stops at the first accepted answer (plan/rules.py), serve(N, E(N, D, k)) stands for
serve(N, k), E the samples expected to be drawn: training is paid first, and what is left buys E.

Units:  N parameters, D training tokens, k samples per question (real), budgets in the cost
        model's unit: FLOPs for the formula costs.
Source: two budgets: Roberts et al., arXiv:2604.01411.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from t2engine.costs.formula import CostModel, Demand
from t2engine.laws.gamma import Array
from t2engine.laws.pass_law import PassLaw
from t2engine.laws.verified import VerifiedLaw
from t2engine.plan.limits import Limits
from t2engine.plan.rules import ENDLESS


class BudgetTooSmallError(ValueError):
    """Not one model can be trained on one token and sampled once."""


@dataclass(frozen=True)
class Budget:
    """Either `total`, or `train` and `inference` (the latter for one question)."""

    total: float | None = None
    train: float | None = None
    inference: float | None = None

    def __post_init__(self) -> None:
        given = {name: x for name, x in vars(self).items() if x is not None}
        if set(given) not in ({"total"}, {"train", "inference"}):
            raise ValueError(
                "a budget must be either total, or train and inference together, "
                f"got {' and '.join(given) or 'none'}"
            )
        for name, value in given.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} budget must be above 0 and finite, got {value:g}")

    @property
    def is_split(self) -> bool:
        return self.total is None

    def scaled(self, factor: float) -> Budget:
        return Budget(**{x: v * factor for x, v in vars(self).items() if v is not None})


def spend_for(
    total: float | None, train: float | None, inference: float | None, target: float | None
) -> Budget | None:
    """The budget, or None where a target stands in its place."""
    if target is None:
        return Budget(total, train, inference)
    if (total, train, inference) != (None, None, None):
        raise ValueError("a plan has either a budget or a target: leave one of them out")
    return None


DEFAULT_QUESTIONS = 1e6
DEFAULT_OUTPUT_TOKENS = 16.0  # about one worked answer of the shipped arithmetic task


def demand_for(
    budget: Budget | None,
    questions: float | None = None,
    output_tokens: float | None = None,
    prompt_tokens: float = 0.0,
    *,
    measured: bool = False,
) -> Demand:
    """The demand with defaults filled in.

    An inference budget is for one question and, as in the paper, for one served token, so that
    k = C_inf / 2N. One budget serves a million questions of 16 output tokens unless told otherwise,
    and so many tokens is what measured costs are taken for.
    """
    if budget is not None and budget.is_split:
        if questions not in (None, 1):
            raise ValueError(
                "an inference budget is for one question: questions must be left out with two "
                f"budgets, got {questions:g}"
            )
        default = DEFAULT_OUTPUT_TOKENS if measured else 1.0
        return Demand(1.0, default if output_tokens is None else output_tokens, prompt_tokens)
    return Demand(
        DEFAULT_QUESTIONS if questions is None else questions,
        DEFAULT_OUTPUT_TOKENS if output_tokens is None else output_tokens,
        prompt_tokens,
    )


@dataclass(frozen=True)
class Problem:
    """A law, what things cost, what will be served, what may be spent, and what may not be passed.

    A law that stands for a selection rule is a VerifiedLaw, and `stop_at_first` needs one.

    Raises: ValueError for limits that the costs know nothing of.
    """

    law: PassLaw
    cost: CostModel
    budget: Budget
    demand: Demand
    limits: Limits = field(default_factory=Limits)
    stop_at_first: bool = False

    def __post_init__(self) -> None:
        assert isinstance(self.law, VerifiedLaw) or not self.stop_at_first
        if self.budget.is_split and self.demand.questions != 1:
            raise ValueError(
                "an inference budget is for one question: questions must be 1, "
                f"got {self.demand.questions:g}"
            )

    def scaled(self, factor: float) -> Problem:
        return replace(self, budget=self.budget.scaled(factor))

    @property
    def useful_samples(self) -> float:
        """The k beyond which the selection rule gains nothing."""
        return self.law.enough_samples if isinstance(self.law, VerifiedLaw) else math.inf

    @property
    def is_limited(self) -> bool:
        return self.limits.any or self.useful_samples < math.inf

    def most_samples(self, N: ArrayLike) -> Array:
        return np.minimum(self.limits.most_samples(N, self.cost, self.demand), self.useful_samples)

    def drawn(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        """The samples of a question that are paid for, on average."""
        if not self.stop_at_first:
            return np.asarray(k, float)
        assert isinstance(self.law, VerifiedLaw)
        return self.law.expected_samples(N, D, k)

    def samples_for(
        self, N: ArrayLike, D: ArrayLike, budget: ArrayLike, most: ArrayLike = math.inf
    ) -> Array:
        """The k, at most `most`, that a budget for serving pays for."""
        bought = self.cost.samples_for(N, budget, self.demand)
        most = np.minimum(most, self.useful_samples)
        if not self.stop_at_first:
            return np.minimum(bought, most)
        assert isinstance(self.law, VerifiedLaw)
        return self.law.samples_for(N, np.maximum(D, 1.0), bought, np.minimum(most, ENDLESS))

    def plan_at(self, N: ArrayLike, extra: ArrayLike) -> tuple[Array, Array]:
        """D and k when the budget is spent at N.

        With one budget every question gets one sample first; `extra`, in [0, 1], is the share of
        what is left that buys further samples, and the rest trains. With two it has no effect.
        What a limit on k leaves goes to training, and what one on D leaves to samples.
        """
        if self.stop_at_first:
            return self.stopping_plan_at(N, extra)
        cost, demand = self.cost, self.demand
        if self.budget.total is None:
            assert self.budget.train is not None
            assert self.budget.inference is not None
            D = cost.tokens_for(N, self.budget.train)
            k = cost.samples_for(N, self.budget.inference, demand)
            if not self.is_limited:
                return D, k
            return np.minimum(D, self.limits.most_tokens), np.minimum(k, self.most_samples(N))
        total = self.budget.total
        one_each = cost.serve(N, 1.0, demand)
        left = np.maximum(total - one_each, 0.0)
        k = cost.samples_for(N, one_each + np.asarray(extra, float) * left, demand)
        k = np.where(np.asarray(extra) == 0, 1.0, k)
        D = cost.tokens_for(N, (1 - np.asarray(extra, float)) * left)
        return self.limited(total, N, D, k) if self.is_limited else (D, k)

    def stopping_plan_at(self, N: ArrayLike, extra: ArrayLike) -> tuple[Array, Array]:
        """`plan_at` where sampling stops: the budget's part for samples buys expected ones.

        Where k is at its most some of that part is left over here. It is not moved to training,
        which would change the expected samples again: another `extra` has it there.
        """
        cost, demand = self.cost, self.demand
        most_k, most_D = self.most_samples(N), self.limits.most_tokens
        if self.budget.total is None:
            assert self.budget.train is not None
            assert self.budget.inference is not None
            D = np.minimum(cost.tokens_for(N, self.budget.train), most_D)
            return D, self.samples_for(N, D, self.budget.inference, most_k)
        total = self.budget.total
        one_each = cost.serve(N, 1.0, demand)
        left = np.maximum(total - one_each, 0.0)
        extra = np.asarray(extra, float)
        D = cost.tokens_for(N, (1 - extra) * left)
        serving, over = one_each + extra * left, most_D < D
        if np.any(over):
            D = np.minimum(D, most_D)
            serving = np.where(over, np.maximum(total - cost.train(N, D), 0.0), serving)
        k = self.samples_for(N, D, serving, most_k)
        return D, np.where((extra == 0) & ~over, 1.0, k)

    def limited(self, total: float, N: ArrayLike, D: Array, k: Array) -> tuple[Array, Array]:
        """The D and k of one budget, with what a limit on either leaves spent on the other."""
        cost, demand = self.cost, self.demand
        most_k, most_D = self.most_samples(N), self.limits.most_tokens
        over = k > most_k
        k = np.minimum(k, most_k)
        sampled = cost.serve(N, np.maximum(k, 1.0), demand)
        D = np.where(over, cost.tokens_for(N, np.maximum(total - sampled, 0.0)), D)
        if not np.any(most_D < D):
            return D, k
        rest = np.maximum(total - cost.train(N, most_D), 0.0)
        more = np.minimum(cost.samples_for(N, rest, demand), most_k)
        return np.minimum(D, most_D), np.where(most_D < D, more, k)

    def merit(self, N: Array, extra: Array) -> Array:
        """The law's merit where the budget buys at least one token and one sample, else -inf."""
        D, k = self.plan_at(N, extra)
        merit = self.law.merit(N, np.maximum(D, 1.0), np.maximum(k, 1.0))
        bought = (D >= 1) & (k >= 1)
        if self.limits.max_memory_bytes is not None:
            bought &= self.limits.fits(N, np.maximum(k, 1.0), self.cost, self.demand)
        return np.where(bought, merit, -np.inf)
