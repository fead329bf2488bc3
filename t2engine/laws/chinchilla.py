"""The Chinchilla law: loss against parameters and training tokens.

    L(N, D) = E + A / N^alpha + B / D^beta

Units:  N parameters, D training tokens, L natural-log loss.
Shapes: N, D, loss [M], one entry a checkpoint; predictions broadcast.
Raises: ValueError for fewer than 6 checkpoints, or fewer than 3 different N or D.
Source: Hoffmann et al., arXiv:2203.15556, approach 3; fitted as in Besiroglu et al.,
        arXiv:2404.10102 (Huber with delta 1e-3 on the log loss, summed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.gamma import Array
from t2engine.laws.law import FitReport, check_checkpoints, report_of, resample_weights
from t2engine.laws.power_sum import power_sum

HUBER_DELTA = 1e-3


@dataclass(frozen=True)
class ChinchillaLaw:
    E: float
    A: float
    alpha: float
    B: float
    beta: float
    fit: FitReport | None = None  # None for coefficients taken from elsewhere

    name = "chinchilla"

    def loss(self, N: ArrayLike, D: ArrayLike) -> Array:
        N, D = np.asarray(N, float), np.asarray(D, float)
        return self.E + self.A * N**-self.alpha + self.B * D**-self.beta

    @property
    def training(self) -> ChinchillaLaw:
        return self


def fit_chinchilla(
    N: ArrayLike,
    D: ArrayLike,
    loss: ArrayLike,
    *,
    residual: str = "log_huber",
    num_starts: int = 64,
    num_resamples: int = 0,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> ChinchillaLaw:
    """`residual` is "log_huber" (robust, of the log loss) or "squared" (of the loss).

    With `num_resamples` the standard errors come from a bootstrap over `groups` (each row its
    own group unless named: rows of one training run belong together).
    """
    N, D, loss = (np.asarray(x, float).ravel() for x in (N, D, loss))
    check_checkpoints("the Chinchilla law", N, D, least=6)
    if residual not in ("log_huber", "squared"):
        raise ValueError(f'residual must be "log_huber" or "squared", got {residual!r}')
    if not np.all(np.isfinite(loss) & (loss > 0)):
        raise ValueError("loss must be finite and above 0 at every checkpoint")
    delta = HUBER_DELTA if residual == "log_huber" else None
    problem = power_sum(
        loss, {"A": (N, "alpha"), "B": (D, "beta")}, relative=residual == "log_huber"
    )
    fit = problem.fit(num_starts=num_starts, seed=seed, huber_delta=delta)
    spread = {}
    if num_resamples:
        names = [str(row) for row in range(loss.size)] if groups is None else groups
        weights = resample_weights(names, num_resamples, seed)
        spread = problem.standard_errors(fit.values, weights, delta)
    report = report_of(
        fit,
        rmse=problem.rmse(fit.values),
        num_points=loss.size,
        N=N,
        D=D,
        standard_errors=spread,
    )
    return ChinchillaLaw(**problem.named(fit.values), fit=report)
