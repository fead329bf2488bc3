"""Which of some existing models reaches a target pass@k at the least cost, and with how many k.

    least k with  1 - B(a, b + k) / B(a, b) >= target,     then the least serve(N, k)

A model is what it answered: c_i of n_i samples of each question. The Beta(a, b) of its p over
questions is fitted to the counts by empirical Bayes, and pass@k is that of further questions of the
same kind. k may exceed the samples drawn, which is said. Nothing is trained: only serving costs.

Units:  N parameters, k samples per question (whole), costs in the cost model's unit.
Raises: ValueError for a target outside (0, 1), no models, or max_k below 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from t2engine.costs.formula import CostModel, Demand, FormulaCost
from t2engine.laws.beta_binomial import fit_beta_binomial
from t2engine.laws.gamma import Array
from t2engine.laws.observed import Observations
from t2engine.laws.passk import beta_pass_at_k, check_counts

LARGEST_K = 1_000_000
NUM_RESAMPLES = 100  # of the interval, by bootstrap over questions
LEVEL = 0.9


@dataclass(frozen=True, eq=False)
class Candidate:
    """An existing model, and what it answered; counts are [Q]."""

    model: str
    N: float
    num_samples: Array
    num_correct: Array


@dataclass(frozen=True)
class Option:
    """A model at its least k. `k` and `cost` are None where no k up to the largest reaches the
    target; `pass_at_k` is then that of the largest. `interval` is the cost's, of 90 %, where costs
    are measured."""

    model: str
    N: float
    k: int | None
    pass_at_k: float
    cost: float | None
    interval: tuple[float, float] | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ChoiceReport:
    """Options that reach the target come first, in order of cost; the rest by their pass@k.

    `accuracy` is the interval of the best option's pass@k, of 90 % over questions; None where no
    model reaches the target.
    """

    options: tuple[Option, ...]
    target: float
    max_k: int
    demand: Demand
    accuracy: tuple[float, float] | None
    unit: str
    costs: str
    measured: bool

    @property
    def best(self) -> Option | None:
        return self.options[0] if self.options[0].k is not None else None


def choose_model(
    candidates: Sequence[Candidate],
    target: float,
    demand: Demand | None = None,
    cost: CostModel | None = None,
    *,
    max_k: int = LARGEST_K,
    seed: int = 0,
) -> ChoiceReport:
    if not 0 < target < 1:
        raise ValueError(f"target must be a pass@k above 0 and below 1, got {target:g}")
    if max_k < 1:
        raise ValueError(f"max_k must be at least 1, got {max_k}")
    if not candidates:
        raise ValueError("there must be at least one model to choose from, got none")
    demand, cost = demand or Demand(), cost or FormulaCost()
    options = {x: option_of(x, target, demand, cost, max_k) for x in candidates}
    order = sorted(candidates, key=lambda x: rank(options[x]))
    best, accuracy = options[order[0]], None
    if best.k is not None:
        accuracy = interval_of(order[0], best.k, seed)
    return ChoiceReport(
        options=tuple(options[x] for x in order),
        target=target,
        max_k=max_k,
        demand=demand,
        accuracy=accuracy,
        unit=cost.unit,
        costs=cost.description,
        measured=cost.measured,
    )


def candidates_from(observations: Observations, pattern: str = "*") -> list[Candidate]:
    """Every checkpoint whose model's name matches a shell pattern.

    Raises: ValueError where none does, or one name stands for several checkpoints.
    """
    found = []
    for index, at in enumerate(observations.checkpoints):
        if fnmatchcase(at.model, pattern):
            rows = observations.checkpoint == index
            counts = (observations.num_samples[rows], observations.num_correct[rows])
            found.append(Candidate(at.model, float(at.N), *(x.astype(float) for x in counts)))
    names = [candidate.model for candidate in found]
    if not found:
        some = ", ".join(list(dict.fromkeys(at.model for at in observations.checkpoints))[:4])
        raise ValueError(
            f"{observations.source}: no model's name matches {pattern!r}; there are {some}"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{observations.source}: {repeated[0]} is the name of {names.count(repeated[0])} "
            "checkpoints; give each a name of its own"
        )
    return found


def option_of(
    candidate: Candidate, target: float, demand: Demand, cost: CostModel, max_k: int
) -> Option:
    n, c = check_counts(candidate.num_samples, candidate.num_correct)
    if c.sum() == 0:
        never = ("not one sample was right: no pass@k can be estimated",)
        return Option(candidate.model, candidate.N, None, 0.0, None, None, never)
    spread_of_p = fit_beta_binomial(n, c)

    def accuracy(k: int) -> float:
        return float(beta_pass_at_k(spread_of_p.a, spread_of_p.b, k))

    warnings: tuple[str, ...] = ()
    if not spread_of_p.converged:
        warnings = ("the fit to its counts did not converge",)
    if accuracy(max_k) < target:
        return Option(candidate.model, candidate.N, None, accuracy(max_k), None, None, warnings)
    low, high = 0, max_k  # the target is reached at high, and not at low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if accuracy(middle) >= target else (middle, high)
    beyond = int(np.sum(n < high))
    if beyond:
        warnings += (
            f"k = {high:,} is more than was drawn for {beyond} of {n.size} questions: "
            "the fitted Beta extrapolates",
        )
    spread = cost.spread(candidate.N, 1.0, high, demand)
    return Option(
        model=candidate.model,
        N=candidate.N,
        k=high,
        pass_at_k=accuracy(high),
        cost=float(cost.serve(candidate.N, high, demand)),
        interval=None if spread is None else spread.serve,
        warnings=warnings,
    )


def interval_of(candidate: Candidate, k: int, seed: int) -> tuple[float, float]:
    """Of pass@k, with the Beta fitted anew to every resample of the questions."""
    n, c = candidate.num_samples, candidate.num_correct
    rng = np.random.default_rng(seed)
    rows = rng.multinomial(n.size, np.full(n.size, 1 / n.size), size=NUM_RESAMPLES).astype(float)
    whole = fit_beta_binomial(n, c)
    draws = np.zeros(NUM_RESAMPLES)  # a resample without one success stays at 0
    for index, weights in enumerate(rows):
        if (weights * c).sum() > 0:
            fit = fit_beta_binomial(n, c, weights=weights, start=(whole.a, whole.b))
            draws[index] = beta_pass_at_k(fit.a, fit.b, k)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def rank(option: Option) -> tuple[bool, float]:
    return option.cost is None, -option.pass_at_k if option.cost is None else option.cost
