"""pass@k: the chance that at least one of k samples is right, from counts, a Beta link or an NLL.

    unbiased   1 - C(n - c, k) / C(n, k)                 k <= n
    Beta       1 - B(a, b + k) / B(a, b)                 p ~ Beta(a, b), any real k > 0
    posterior  the same with a + c and b + n - c          c successes in n samples

The unbiased estimator is the Beta form at a = c, b = n - c - k + 1, so one accurate difference of
log-gammas serves all three, and none of them is ever computed as 1 minus something near 1.

Shapes: arguments broadcast; counts are [Q], one entry a question.
Raises: ValueError for k > num_samples in the unbiased form; it is never 1 in silence.
Source: unbiased: Chen et al., arXiv:2107.03374, section 2.1; Beta: arXiv:2604.01411, Approach 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.beta_binomial import fit_beta_binomial
from t2engine.laws.gamma import Array, log_beta_ratio


@dataclass(frozen=True)
class PassAtK:
    """Mean pass@k over questions with its interval; `method` is "unbiased" or "beta"."""

    k: int
    mean: float
    low: float
    high: float
    level: float
    method: str
    num_questions: int


def unbiased_pass_at_k(num_samples: ArrayLike, num_correct: ArrayLike, k: int) -> Array:
    n, c = check_counts(num_samples, num_correct)
    if int(k) != k or k < 1:
        raise ValueError(f"k must be a whole number of samples, at least 1, got {k}")
    if np.any(n < k):
        short = int(np.flatnonzero(n < k)[0])
        raise ValueError(
            f"pass@{k} needs num_samples >= {k}, question {short} has {n.flat[short]:g}; "
            "draw more samples or use the Beta estimate"
        )
    failures = n - c
    some_fail = failures >= k
    b = np.where(some_fail, failures - k + 1, 1.0)
    estimate = -np.expm1(log_beta_ratio(np.maximum(c, 0.5), b, k))
    return np.asarray(np.where(c == 0, 0.0, np.where(some_fail, estimate, 1.0)), float)


def beta_pass_at_k(a: ArrayLike, b: ArrayLike, k: ArrayLike) -> Array:
    """pass@k when each question's p is drawn from Beta(a, b); k may be real."""
    return np.asarray(-np.expm1(log_beta_ratio(a, b, k)), float)


def posterior_pass_at_k(
    num_samples: ArrayLike, num_correct: ArrayLike, k: ArrayLike, a: float, b: float
) -> Array:
    """Posterior mean of a question's pass@k under the prior Beta(a, b); k may exceed n."""
    n, c = check_counts(num_samples, num_correct)
    return beta_pass_at_k(a + c, b + n - c, k)


def nll_of_pass_at_k(nll: ArrayLike, k: ArrayLike) -> Array:
    """-ln(1 - (1 - p)^k) with p = exp(-nll); nll - ln k where p is too small to represent."""
    nll, k = np.broadcast_arrays(np.asarray(nll, float), np.asarray(k, float))
    if not (np.all(nll >= 0) and np.all(k > 0)):
        raise ValueError(f"nll must be >= 0 and k > 0, got nll {nll.min()} and k {k.min()}")
    held = np.clip(nll, np.finfo(float).tiny, 700.0)
    p = np.exp(-held)
    log_fail = k * np.where(p < 0.5, np.log1p(-np.minimum(p, 0.5)), np.log(-np.expm1(-held)))
    exact = -np.log(-np.expm1(log_fail))
    return np.asarray(np.where(nll > 700, nll - np.log(k), exact), float)


def estimate_pass_at_k(
    num_samples: ArrayLike,
    num_correct: ArrayLike,
    k: int,
    *,
    method: str = "unbiased",
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> PassAtK:
    """Mean pass@k over questions, with a percentile bootstrap over questions.

    Where every question says exactly 0 (or exactly 1) no resample differs, and the interval is
    Clopper and Pearson's for Q questions without exception, which bounds a mean of [0, 1] values.
    """
    n, c = check_counts(num_samples, num_correct)
    if n.ndim != 1 or n.size == 0:
        raise ValueError(f"counts must be one row per question, got shape {list(n.shape)}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n.size, np.full(n.size, 1 / n.size), size=num_resamples).astype(float)
    if method == "unbiased":
        values = unbiased_pass_at_k(n, c, k)
        mean, draws = float(values.mean()), weights @ values / n.size
    elif method == "beta":
        mean, draws = _beta_draws(n, c, k, weights)
    else:
        raise ValueError(f'method must be "unbiased" or "beta", got {method!r}')
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    if draws.min() == draws.max() and draws[0] in (0.0, 1.0):
        reach = 1 - tail ** (1 / n.size)
        low, high = (0.0, reach) if draws[0] == 0 else (1 - reach, 1.0)
    return PassAtK(int(k), mean, float(low), float(high), level, method, int(n.size))


def _beta_draws(n: Array, c: Array, k: int, weights: Array) -> tuple[float, Array]:
    """The prior is refitted to every resample: its uncertainty is part of the interval."""
    whole = fit_beta_binomial(n, c)
    draws = np.zeros(len(weights))  # a resample without one success stays at 0
    for index, row in enumerate(weights):
        if (row * c).sum() > 0:
            fit = fit_beta_binomial(n, c, weights=row, start=(whole.a, whole.b))
            draws[index] = row @ posterior_pass_at_k(n, c, k, fit.a, fit.b) / n.size
    return float(posterior_pass_at_k(n, c, k, whole.a, whole.b).mean()), draws


def check_counts(num_samples: ArrayLike, num_correct: ArrayLike) -> tuple[Array, Array]:
    n, c = np.broadcast_arrays(np.asarray(num_samples, float), np.asarray(num_correct, float))
    for bad, rule in (
        (~((n >= 1) & np.isfinite(n)), "num_samples must be at least 1 and finite"),
        (~((c >= 0) & (c <= n)), "num_correct must lie in [0, num_samples]"),
    ):
        if np.any(bad):
            question = int(np.flatnonzero(bad)[0])
            got = f"{c.flat[question]:g} of {n.flat[question]:g}"
            raise ValueError(f"{rule}, question {question} has {got}")
    return n, c
