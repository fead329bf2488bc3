"""An imperfect verifier: samples are drawn until it accepts one, which is returned, or k are drawn.

    r = p t + (1 - p) f                              the chance that a sample is accepted
    success = (p t / r) (1 - (1 - r)^k)              right, and returned; nothing accepted is wrong
    samples = (1 - (1 - r)^k) / r                    drawn on average; k where r = 0

t is the verifier's true-positive rate, f its false-positive rate. t = 1 and f = 0 is pass@k with
early stopping. With k the success tends to the precision p t / r and not to 1.

Over p ~ Beta(a, b) both are a function g that is bounded by its ends:

    E[g] = g(0) E[(1 - p)^k] + g(1) E[p^k] + E[h],   h = g - g(0) (1 - p)^k - g(1) p^k >= 0
    E[h] = a b / ((a + b) (a + b + 1)) E'[h / (p (1 - p))],   E' over Beta(a + 1, b + 1)

The first two terms are closed, and E' is smooth over the log-odds of p whatever a and b: the
trapezoidal rule there converges as exp(-2 pi y / step), y = pi / 2 half the strip without poles.
Gauss and Jacobi's rule would need k / 2 nodes to be exact, and its weights lose digits at small a.

Shapes: arguments broadcast; counts are [Q]. k >= 1 may be real.
Raises: ValueError for a rate or p outside [0, 1], k below 1, a or b not above 0.
Source: the rule for one p: a geometric series; the quadrature: Trefethen and Weideman 2014,
        SIAM Review 56(3), section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.early_stopping import check_k, check_probability, check_shape, samples_until
from t2engine.laws.gamma import Array, log_beta_ratio
from t2engine.laws.passk import check_counts

# In standard deviations of the log-odds, which are at most sqrt(2): steps of 1 / 4 at the widest.
STEP = 0.177
STEPS = 320  # to either side: to where a tail that falls as exp(-|u|), the slowest, is 1e-24


@dataclass(frozen=True)
class Verified:
    """The chance that the answer returned is right, and the samples drawn on average."""

    success: Array
    samples: Array


@dataclass(frozen=True)
class Verifier:
    true_positive_rate: float = 1.0
    false_positive_rate: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_probability(name, value)

    def at(self, p: ArrayLike, k: ArrayLike) -> Verified:
        """For one question."""
        p, k = check_probability("p", p), check_k(k)
        return Verified(self._success(p, 1 - p, k), self._samples(p, 1 - p, k))

    def beta(self, a: ArrayLike, b: ArrayLike, k: ArrayLike) -> Verified:
        """Mean over questions whose p is drawn from Beta(a, b)."""
        a, b, k = np.broadcast_arrays(*check_shape(a, b), check_k(k))
        return Verified(_beta_mean(self._success, a, b, k), _beta_mean(self._samples, a, b, k))

    def posterior(
        self,
        num_samples: ArrayLike,
        num_correct: ArrayLike,
        k: ArrayLike,
        a: float,
        b: float,
    ) -> Verified:
        """Posterior means for questions of known counts under the prior Beta(a, b)."""
        n, c = check_counts(num_samples, num_correct)
        return self.beta(a + c, b + n - c, k)

    def precision(self, p: ArrayLike) -> Array:
        """The share of accepted samples that are right, success at k without end; 0 where r = 0."""
        p = check_probability("p", p)
        right = p * self.true_positive_rate
        accepted = right + (1 - p) * self.false_positive_rate
        return np.asarray(right / np.where(accepted > 0, accepted, 1.0), float)

    def _samples(self, p: Array, wrong: Array, k: Array) -> Array:
        t, f = self.true_positive_rate, self.false_positive_rate
        return samples_until(p * t + wrong * f, p * (1 - t) + wrong * (1 - f), k)

    def _success(self, p: Array, wrong: Array, k: Array) -> Array:
        return p * self.true_positive_rate * self._samples(p, wrong, k)


def _beta_mean(g: Callable[[Array, Array, Array], Array], a: Array, b: Array, k: Array) -> Array:
    """E g(p, 1 - p, k) over Beta(a, b)."""
    zero, one = np.zeros(()), np.ones(())
    at_zero, at_one = g(zero, one, k), g(one, zero, k)
    ends = at_zero * np.exp(log_beta_ratio(a, b, k)) + at_one * np.exp(log_beta_ratio(b, a, k))
    log_p, log_wrong, weight = _nodes(a + 1, b + 1)
    p, wrong = np.exp(log_p), np.exp(log_wrong)
    k, at_zero, at_one = k[..., None], at_zero[..., None], at_one[..., None]
    by_ends = at_zero * np.exp(k * log_wrong) + at_one * np.exp(k * log_p)
    between = g(p, wrong, k) - by_ends  # [..., J]
    share = a / (a + b) * b / (a + b + 1)
    return np.asarray(ends + share * (weight * between / (p * wrong)).sum(-1), float)


def _nodes(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """ln p, ln(1 - p) and weights that sum to 1, each [..., J], for Beta(a, b) with a, b >= 1."""
    step = STEP * np.sqrt(1 / a + 1 / b)
    offset = np.arange(-STEPS, STEPS + 1)
    u = np.log(a / b)[..., None] + step[..., None] * offset
    log_p, log_wrong = -np.logaddexp(0.0, -u), -np.logaddexp(0.0, u)
    log_weight = a[..., None] * log_p + b[..., None] * log_wrong
    weight = np.exp(log_weight - log_weight.max(axis=-1, keepdims=True))
    weight /= weight.sum(axis=-1, keepdims=True)
    return log_p, log_wrong, weight
