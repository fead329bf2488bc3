"""Approach 1: the loss of pass@k falls as three powers.

    mean_i -ln pass@k_i = E + A / N^alpha + B / D^beta + G / k^gamma

Fitted by squared error over checkpoints and k. pass_at_k is exp of minus that mean, a geometric
mean over questions: never more than the average pass@k. E and G are confounded when gamma is
small or k spans little.

Units:  N parameters, D training tokens, k samples per question, natural logarithms.
Shapes: N, D, models [M]; k [K]; nll [M, K]; predictions broadcast.
Raises: ValueError for fewer than 6 checkpoints, 3 different N or D, or 3 values of k.
Source: Roberts et al., arXiv:2604.01411, Approach 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.gamma import Array
from t2engine.laws.law import FitReport, check_checkpoints, report_of, resample_weights
from t2engine.laws.power_sum import power_sum


@dataclass(frozen=True)
class Approach1Law:
    E: float
    A: float
    alpha: float
    B: float
    beta: float
    G: float
    gamma: float
    fit: FitReport | None = None  # None for coefficients taken from elsewhere

    name = "approach1"

    def nll(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        return self.training.loss(N, D) + self.G * np.asarray(k, float) ** -self.gamma

    def pass_at_k(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        return np.asarray(np.exp(-self.nll(N, D, k)), float)

    def merit(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        return -self.nll(N, D, k)

    @property
    def training(self) -> ChinchillaLaw:
        return ChinchillaLaw(self.E, self.A, self.alpha, self.B, self.beta, self.fit)


def check_approach1(N: ArrayLike, D: ArrayLike, k: ArrayLike) -> None:
    check_checkpoints("Approach 1", N, D, least=6)
    if np.unique(k).size < 3:
        raise ValueError(
            f"Approach 1 needs at least 3 different k, got {np.unique(k).tolist()}; "
            "draw at least 4 samples per question"
        )


def fit_approach1(
    N: ArrayLike,
    D: ArrayLike,
    k: ArrayLike,
    nll: ArrayLike,
    *,
    models: Sequence[str] | None = None,
    num_starts: int = 64,
    num_resamples: int = 0,
    seed: int = 0,
) -> Approach1Law:
    """With `num_resamples` the standard errors come from a bootstrap over `models`."""
    N, D, k = (np.asarray(x, float).ravel() for x in (N, D, k))
    nll = np.asarray(nll, float)
    check_approach1(N, D, k)
    if nll.shape != (N.size, k.size) or not np.all(np.isfinite(nll) & (nll >= 0)):
        raise ValueError(f"nll must be finite, >= 0 and {[N.size, k.size]}, got {list(nll.shape)}")
    rows = (np.repeat(N, k.size), np.repeat(D, k.size), np.tile(k, N.size))
    problem = power_sum(
        np.maximum(nll.ravel(), np.finfo(float).tiny),
        {"A": (rows[0], "alpha"), "B": (rows[1], "beta"), "G": (rows[2], "gamma")},
        relative=False,
    )
    fit = problem.fit(num_starts=num_starts, seed=seed)
    spread = {}
    if num_resamples:
        groups = [f"{n}:{d}" for n, d in zip(N, D, strict=True)] if models is None else models
        weights = np.repeat(resample_weights(groups, num_resamples, seed), k.size, axis=1)
        spread = problem.standard_errors(fit.values, weights)
    report = report_of(
        fit,
        rmse=problem.rmse(fit.values),
        num_points=nll.size,
        N=N,
        D=D,
        k=k,
        standard_errors=spread,
    )
    return Approach1Law(**problem.named(fit.values), fit=report)
