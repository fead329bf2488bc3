"""Majority vote: the chance that the most common of k samples is the right answer, ties by lot.

    two answers     P(X > k / 2) + P(X = k / 2) / 2,   X ~ Binomial(k, p)
    p ~ Beta(a, b)  the same with X beta-binomial
    many answers    sum_j P(right has j) E[1 / (1 + ties)]   over votes where no other has more
    plateau         k without end: the share of questions whose most probable answer is right

An even k of two answers is worth exactly k - 1, the last vote only ever making ties. With p alone
known, two answers are the worst case: every wrong sample agrees. A scaling law knows p alone, so a
plan could only ever be of that worst case: `t2 plan` offers no majority vote.

Many answers: k votes are independent counts (Poisson for probabilities, binomial for counts that
are drawn from without replacement) that happen to sum to k. So the chance is the coefficient of
x^(k - j) in a product over answers of sum_c<j q(c) x^c + y q(j) x^j, with y integrated over [0, 1],
which weighs z ties by 1 / (1 + z). Coefficients come from roots of unity, y from Gauss and
Legendre: exact to some 1e-13. Where that is more work than EXACT_WORK, votes are simulated, and the
standard error is stated.

Shapes: answers [A], one entry a distinct answer; `right` is an index, or None where no answer is.
Raises: ValueError for k that is not whole or exceeds the counts, probabilities not summing to 1.
Source: majority vote: Wang et al., arXiv:2203.11171.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from t2engine.laws.early_stopping import check_probability, check_shape
from t2engine.laws.gamma import Array, log_gamma_ratio

EXACT_WORK = 3e7  # complex multiplications, about a second
SPARE_ROOTS = 64  # 2 k + this many: the chance of a count that wraps around is below 1e-30
NUM_DRAWS = 20_000  # a standard error of at most .0036
FAINTEST = 1e-25  # a chance that no sum of k of them can show


@dataclass(frozen=True)
class Vote:
    """`standard_error` is of the simulation, 0 where `method` is "exact" and not "simulated"."""

    value: float
    standard_error: float
    method: str


def majority_of_two(p: ArrayLike, k: int) -> Array:
    """One right answer of chance p against one wrong answer."""
    half = (_odd(k) + 1) / 2
    return np.asarray(betainc(half, half, check_probability("p", p)), float)


def beta_majority_of_two(a: ArrayLike, b: ArrayLike, k: int) -> Array:
    """Mean of `majority_of_two` over questions whose p is drawn from Beta(a, b)."""
    a, b = (x[..., None] for x in np.broadcast_arrays(*check_shape(a, b)))
    votes = _odd(k)
    right = np.arange(votes // 2 + 1, votes + 1)
    wrong = votes - right
    choose = log_gamma_ratio(1.0, votes) - log_gamma_ratio(1.0, right) - log_gamma_ratio(1.0, wrong)
    drawn = log_gamma_ratio(a, right) + log_gamma_ratio(b, wrong) - log_gamma_ratio(a + b, votes)
    return np.asarray(np.exp(choose + drawn).sum(axis=-1), float)


def beta_plateau_of_two(a: ArrayLike, b: ArrayLike) -> Array:
    """P(p > 1/2) for p ~ Beta(a, b)."""
    a, b = check_shape(a, b)
    return np.asarray(betainc(b, a, 0.5), float)


def vote_of_probabilities(
    probabilities: ArrayLike,
    right: int | None,
    k: int,
    *,
    num_draws: int = NUM_DRAWS,
    seed: int = 0,
) -> Vote:
    """k samples of one question whose answers have known chances."""
    chance = _answers(probabilities, right)
    if abs(chance.sum() - 1) > 1e-9:
        raise ValueError(f"probabilities must sum to 1, got {chance.sum():.10g}")
    chance = chance / chance.sum()
    votes = np.arange(_whole(k) + 1)

    def table(value: float) -> Array:
        mean = max(k * value, np.finfo(float).tiny)
        return np.asarray(np.exp(votes * np.log(mean) - mean - log_gamma_ratio(1.0, votes)), float)

    def draw(rng: np.random.Generator) -> NDArray[np.int64]:
        return rng.multinomial(k, chance, size=num_draws)

    return _vote(chance, right, k, table, draw, seed)


def vote_of_counts(
    counts: ArrayLike, right: int | None, k: int, *, num_draws: int = NUM_DRAWS, seed: int = 0
) -> Vote:
    """The vote of k of the samples counted, drawn without replacement: unbiased, as pass@k is."""
    count = _answers(counts, right)
    n = int(count.sum())
    if np.any(count != np.round(count)):
        raise ValueError(f"counts must be whole numbers of samples, got {count.tolist()}")
    if _whole(k) > n:
        raise ValueError(
            f"a vote of {k} needs at least {k} samples, counts have {n}; draw more samples or "
            "take probabilities"
        )
    votes = np.arange(k + 1)

    def table(value: float) -> Array:
        taken = np.minimum(votes, value)
        left = value - taken
        choose = log_gamma_ratio(1.0, value) - log_gamma_ratio(1.0, taken)
        log_chance = choose - log_gamma_ratio(1.0, left) + taken * np.log(k / n)
        if k < n:
            log_chance = log_chance + left * np.log1p(-k / n)
        return np.where((votes <= value) & ((k < n) | (left == 0)), np.exp(log_chance), 0.0)

    def draw(rng: np.random.Generator) -> NDArray[np.int64]:
        whole = count.astype(np.int64)
        return rng.multivariate_hypergeometric(whole, k, size=num_draws, method="marginals")

    return _vote(count, right, k, table, draw, seed)


def plateau(questions: Sequence[ArrayLike], right: Sequence[int | None]) -> float:
    """The mean share of the most probable answers that is right; chances or counts, one per row."""
    if len(questions) == 0 or len(questions) != len(right):
        raise ValueError(
            "plateau needs one right answer for each of at least one question, "
            f"got {len(right)} for {len(questions)}"
        )
    shares = []
    for answers, index in zip(questions, right, strict=True):
        weight = _answers(answers, index)
        shares.append(float(_wins(weight[None], index)[0]))
    return float(np.mean(shares))


def _vote(
    weight: Array,
    right: int | None,
    k: int,
    table: Callable[[float], Array],
    draw: Callable[[np.random.Generator], NDArray[np.int64]],
    seed: int,
) -> Vote:
    """`table` is the chance of every count up to k of an answer of that weight."""
    if right is None or weight[right] == 0:
        return Vote(0.0, 0.0, "exact")
    others = np.delete(weight, right)
    # Equal answers are one factor and its power.
    values, repeats = np.unique(others[others > 0], return_counts=True)
    least = -(-k // (int(repeats.sum()) + 1))  # the fewest votes that can win
    work = (k + SPARE_ROOTS) * values.size * sum(_rule_size(k, j) for j in range(least, k + 1))
    if work > EXACT_WORK:
        share = _wins(draw(np.random.default_rng(seed)), right)
        # As if half a draw more had won and half lost: never 0, and no less than the true one.
        mean = (share.sum() + 0.5) / (share.size + 1)
        error = np.sqrt(mean * (1 - mean) / share.size)
        return Vote(float(share.mean()), float(error), "simulated")
    rows = np.array([table(value) for value in values]).reshape(values.size, k + 1)
    return Vote(_exact(rows, repeats, table(float(weight[right])), k, least), 0.0, "exact")


def _exact(rows: Array, repeats: NDArray[np.int64], own: Array, k: int, least: int) -> float:
    """The chance that the right answer wins, given that all counts sum to k."""
    num_roots = 2 * k + SPARE_ROOTS
    half = np.arange(num_roots // 2 + 1)  # M: the other roots are conjugates
    roots = np.exp(-2j * np.pi * np.arange(num_roots) / num_roots)
    fewer = np.fft.rfft(rows[:, :least], num_roots)  # [A, M]: below x^j
    won = 0.0
    for j in range(least, k + 1):
        at_j = rows[:, j, None] * roots[j * half % num_roots]
        if own[j] > FAINTEST:
            y, weight = np.polynomial.legendre.leggauss(_rule_size(k, j))
            product = np.ones((y.size, half.size), complex)
            for below, tied, times in zip(fewer, at_j, repeats, strict=True):
                product *= (below + (y[:, None] + 1) / 2 * tied) ** int(times)
            won += own[j] * np.fft.irfft(weight / 2 @ product, num_roots)[k - j]
        fewer = fewer + at_j
    everything = np.fft.rfft(own, num_roots)
    for row, times in zip(rows, repeats, strict=True):
        everything = everything * np.fft.rfft(row, num_roots) ** int(times)
    return float(min(won / np.fft.irfft(everything, num_roots)[k], 1.0))


def _rule_size(k: int, j: int) -> int:
    """Nodes that integrate y exactly: at most (k - j) / j other answers have j votes too."""
    return (k - j) // j // 2 + 1


def _wins(votes: NDArray[np.generic], right: int | None) -> Array:
    """The share of each row's most common answers that is right, [rows]."""
    if right is None:
        return np.zeros(len(votes))
    top = votes == votes.max(axis=1, keepdims=True)
    return np.asarray(top[:, right] / top.sum(axis=1), float)


def _answers(weights: ArrayLike, right: int | None) -> Array:
    weight = np.asarray(weights, float)
    if weight.ndim != 1 or not np.all((weight >= 0) & np.isfinite(weight)) or weight.sum() <= 0:
        raise ValueError(
            f"answers must be one row of chances or counts, >= 0 and not all 0, got {weights!r}"
        )
    if right is not None and not 0 <= right < weight.size:
        raise ValueError(f"right must be None or an index below {weight.size}, got {right}")
    return weight


def _whole(k: int) -> int:
    if int(k) != k or k < 1:
        raise ValueError(f"k must be a whole number of samples, at least 1, got {k}")
    return int(k)


def _odd(k: int) -> int:
    return _whole(k) - (_whole(k) + 1) % 2
