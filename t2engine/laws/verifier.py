"""An imperfect verifier: samples are drawn until it accepts one, which is returned, or k are drawn.

    r = p t + (1 - p) f                              the chance that a sample is accepted
    success = (p t / r) (1 - (1 - r)^k)              right, and returned; nothing accepted is wrong
    samples = (1 - (1 - r)^k) / r                    drawn on average; k where r = 0

t is the verifier's true-positive rate, f its false-positive rate. t = 1 and f = 0 is pass@k with
early stopping. With k the success tends to the precision p t / r and not to 1.

Over p ~ Beta(a, b) the means of both, and of the chance to fail, are laws/beta_mean.py's.

Shapes: arguments broadcast; counts are [Q]. k >= 1 may be real.
Raises: ValueError for a rate or p outside [0, 1], k below 1, a or b not above 0.
Source: the rule for one p: a geometric series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.beta_mean import BetaNodes, beta_nodes
from t2engine.laws.early_stopping import check_k, check_probability, check_shape, samples_until
from t2engine.laws.gamma import Array
from t2engine.laws.passk import check_counts


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

    @property
    def is_perfect(self) -> bool:
        return self.true_positive_rate == 1 and self.false_positive_rate == 0

    def at(self, p: ArrayLike, k: ArrayLike) -> Verified:
        """For one question."""
        p, k = check_probability("p", p), check_k(k)
        return Verified(self._success(p, 1 - p, k), self._samples(p, 1 - p, k))

    def beta(self, a: ArrayLike, b: ArrayLike, k: ArrayLike) -> Verified:
        """Mean over questions whose p is drawn from Beta(a, b)."""
        a, b, k = np.broadcast_arrays(*check_shape(a, b), check_k(k))
        means = VerifiedMeans(self, beta_nodes(a.ravel(), b.ravel()))
        success, (samples, _) = means.success(k.ravel()), means.samples(k.ravel())
        return Verified(success.reshape(a.shape), samples.reshape(a.shape))

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


class VerifiedMeans:
    """What a verifier makes of P Beta distributions, for any k [P]: each result is [P]."""

    def __init__(self, verifier: Verifier, nodes: BetaNodes) -> None:
        t, f = verifier.true_positive_rate, verifier.false_positive_rate
        self.nodes, self.t, self.f = nodes, t, f
        self.accepted = nodes.p * t + nodes.wrong * f  # [P, J]
        rejected = nodes.p * (1 - t) + nodes.wrong * (1 - f)
        self.log_rejected = _log_of_rest(self.accepted, rejected)
        self.inverse = 1 / np.maximum(self.accepted, np.finfo(float).tiny)
        self.rate = -self.log_rejected * self.inverse  # 1 where few are accepted

    def success(self, k: Array) -> Array:
        returned = -np.expm1(k[:, None] * self.log_rejected)
        values = self.t * self.nodes.p * self.inverse * returned
        return self.nodes.mean(k, (values, np.zeros(k.shape), self._end(self.t, k)[0] * self.t))[0]

    def failure(self, k: Array) -> Array:
        """1 - success, with all its digits where that is near 1."""
        none = np.exp(k[:, None] * self.log_rejected)
        wrongly = self.f * self.nodes.wrong + self.t * self.nodes.p * none
        at_one = np.power(1 - self.t, k)
        if self.f == 0:  # 0 / 0 where nothing can be accepted
            return self.nodes.mean(k, (none, np.ones(k.shape), at_one))[0]
        return self.nodes.mean(k, (wrongly * self.inverse, np.ones(k.shape), at_one))[0]

    def samples(self, k: Array) -> tuple[Array, Array]:
        """Drawn on average, and the slope of that over k."""
        none = np.exp(k[:, None] * self.log_rejected)
        drawn = -np.expm1(k[:, None] * self.log_rejected) * self.inverse
        if self.t == 0 or not self.accepted.all():  # 0 / 0, or as good
            drawn = np.where(self.accepted > 0, drawn, k[:, None])
        slope = self.rate * none
        (drawn_at_zero, slope_at_zero), at_one = self._end(self.f, k), self._end(self.t, k)
        found = self.nodes.mean(
            k, (drawn, drawn_at_zero, at_one[0]), (slope, slope_at_zero, at_one[1])
        )
        return found[0], found[1]

    def _end(self, accepted: float, k: Array) -> tuple[Array, Array]:
        """Samples and their slope where every sample is accepted at one rate."""
        drawn = samples_until(np.full(k.shape, accepted), np.full(k.shape, 1 - accepted), k)
        if accepted in (0.0, 1.0):
            return drawn, np.full(k.shape, 1.0 - accepted)
        log_rejected = np.log1p(-accepted)
        return drawn, -log_rejected / accepted * np.exp(k * log_rejected)


def _log_of_rest(accepted: Array, rejected: Array) -> Array:
    """ln(1 - accepted), from whichever of the two has the digits."""
    log_rest = np.log(np.maximum(rejected, np.finfo(float).tiny))
    return np.where(accepted < 0.5, np.log1p(-np.minimum(accepted, 0.5)), log_rest)
