"""A law of the answer that a verifier picks: samples are drawn until it accepts one, or k are.

    pass@k becomes E[(p t / r) (1 - (1 - r)^k)],   r = p t + (1 - p) f,   p ~ Beta(a, b)

a and b are the wrapped law's at (N, D). Success rises with k, to a ceiling below 1 where f > 0:
there every question is accepted at a rate of at least min(t, f), so that all but ENOUGH of what
samples can give is had with

    k = ln ENOUGH / ln(1 - min(t, f))

at any (N, D). The samples drawn on average when drawing stops at the first one accepted, and the k
that draws a given number of them, are here too. A perfect verifier (t = 1, f = 0) has closed forms
of both, and pass@k itself; others are means over Beta (laws/beta_mean.py), right to some 1e-8.

Units:  N parameters, D training tokens, k samples per question.
Shapes: arguments broadcast; P points are worked on a block at a time.
Raises: ValueError for a law without a spread of p over questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.beta_mean import QUICK, beta_nodes
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.early_stopping import (
    beta_expected_samples,
    beta_samples_slope,
    samples_for_expected,
)
from t2engine.laws.gamma import Array
from t2engine.laws.law import FitReport
from t2engine.laws.pass_law import PassLaw, as_spread
from t2engine.laws.verifier import VerifiedMeans, Verifier

ENOUGH = 1e-12  # of a question's success: no sum of doubles would show more samples
BLOCK = 64  # points whose nodes fit a processor's cache
NEARLY_SURE = 0.999  # success from where the chance to fail is computed by itself


@dataclass(frozen=True)
class VerifiedLaw:
    """`training`, and with it the compute-optimal path, and the fit are the wrapped law's own."""

    law: PassLaw
    verifier: Verifier = field(default_factory=Verifier)

    def __post_init__(self) -> None:
        as_spread(self.law)

    @property
    def name(self) -> str:
        return self.law.name

    @property
    def training(self) -> ChinchillaLaw:
        return self.law.training

    @property
    def fit(self) -> FitReport | None:
        return self.law.fit

    @property
    def enough_samples(self) -> float:
        """The k beyond which further samples change nothing; infinite where they always do."""
        least = min(self.verifier.true_positive_rate, self.verifier.false_positive_rate)
        return max(math.log(ENOUGH) / math.log1p(-least), 1.0) if least > 0 else math.inf

    def pass_at_k(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        if self.verifier.is_perfect:
            return self.law.pass_at_k(N, D, k)
        return self._means(N, D, k, VerifiedMeans.success)

    def merit(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        if self.verifier.is_perfect:
            return self.law.merit(N, D, k)
        return self._means(N, D, k, _merit)

    def expected_samples(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        """Drawn on average when drawing stops at the first sample accepted."""
        if self.verifier.is_perfect:
            return beta_expected_samples(*self._spread(N, D), k)
        return self._means(N, D, k, lambda means, k: means.samples(k)[0])

    def samples_for(
        self, N: ArrayLike, D: ArrayLike, expected: ArrayLike, most: ArrayLike
    ) -> Array:
        """The k of an expected number, at most `most`; what is below 1 stays as it is."""
        expected = np.asarray(expected, float)
        drawn, largest = np.maximum(expected, 1.0), np.maximum(np.asarray(most, float), 1.0)
        if self.verifier.is_perfect:
            a, b, drawn, largest = np.broadcast_arrays(*self._spread(N, D), drawn, largest)

            def closed(k: Array) -> tuple[Array, Array]:
                return beta_expected_samples(a, b, k), beta_samples_slope(a, b, k)

            k = samples_for_expected(closed, drawn, largest)
        else:

            def inverse(means: VerifiedMeans, drawn: Array, most: Array) -> Array:
                return samples_for_expected(means.samples, drawn, most)

            k = self._means(N, D, drawn, inverse, largest)
        return np.where(expected < 1, expected, k)

    def _spread(self, N: ArrayLike, D: ArrayLike) -> tuple[Array, Array]:
        return as_spread(self.law).spread_at(N, D)

    def _means(
        self,
        N: ArrayLike,
        D: ArrayLike,
        k: ArrayLike,
        result: Callable[..., Array],
        *more: Array,
    ) -> Array:
        """`result` of the means at every point, and of k and more, in blocks."""
        columns = np.broadcast_arrays(*self._spread(N, D), np.asarray(k, float), *more)
        a, b, *rest = (column.ravel() for column in columns)
        found = np.empty(a.shape)
        for start in range(0, a.size, BLOCK):
            block = slice(start, start + BLOCK)
            means = VerifiedMeans(self.verifier, beta_nodes(a[block], b[block], QUICK))
            found[block] = result(means, *(x[block] for x in rest))
        return found.reshape(columns[0].shape)


def _merit(means: VerifiedMeans, k: Array) -> Array:
    success = means.success(k)
    sure = success > NEARLY_SURE
    merit = -np.log1p(-np.where(sure, 0.0, success))
    if not sure.any():
        return merit
    failure = np.maximum(means.failure(k), np.finfo(float).tiny)
    return np.where(sure, -np.log(failure), merit)
