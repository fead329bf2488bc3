"""A law under a finite corpus: tokens seen again are worth less, and in the end nothing.

    D_eff = U + U R (1 - exp(-(D / U - 1) / R)),   R = 15.387756        for D > U, else D

U unique tokens seen D / U times. Four passes are worth 3.7 corpora, endless passes 1 + R. The
wrapped law sees D_eff where it saw D; costs go on counting D. The same source also discounts
parameters beyond what U calls for: that is not done here.

Units:  N parameters, D and U tokens, k samples per question.
Shapes: predictions broadcast.
Raises: ValueError for unique_tokens or decay not above 0 and finite.
Source: Muennighoff et al., arXiv:2305.16264; R is their R_D*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.gamma import Array
from t2engine.laws.law import FitReport
from t2engine.laws.pass_law import PassLaw, as_spread

DECAY = 15.387756  # passes, R above


def effective_tokens(D: ArrayLike, unique_tokens: ArrayLike, decay: float = DECAY) -> Array:
    """The fresh tokens that D tokens drawn from a corpus of `unique_tokens` are worth."""
    D, U = np.asarray(D, float), np.asarray(unique_tokens, float)
    for name, value in (("unique_tokens", U), ("decay", np.asarray(decay, float))):
        if not np.all((value > 0) & np.isfinite(value)):
            raise ValueError(f"{name} must be above 0 and finite, got {value}")
    again = np.maximum(D / U - 1, 0.0)
    return np.asarray(np.minimum(D, U) - U * decay * np.expm1(-again / decay), float)


@dataclass(frozen=True)
class RepeatedData:
    """`law` trained on repeats of `unique_tokens` tokens.

    `training`, and with it the compute-optimal path, stays the law's own: what it was without a
    limit on data. The law's `fit` too: its D_range is of fresh tokens.
    """

    law: PassLaw
    unique_tokens: float
    decay: float = DECAY

    def __post_init__(self) -> None:
        for name in ("unique_tokens", "decay"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {value:g}")

    @property
    def name(self) -> str:
        return self.law.name

    @property
    def training(self) -> ChinchillaLaw:
        return self.law.training

    @property
    def fit(self) -> FitReport | None:
        return self.law.fit

    def pass_at_k(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        return self.law.pass_at_k(N, self.effective_tokens(D), k)

    def merit(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        return self.law.merit(N, self.effective_tokens(D), k)

    def spread_at(self, N: ArrayLike, D: ArrayLike) -> tuple[Array, Array]:
        """Raises: ValueError where the law has none."""
        return as_spread(self.law).spread_at(N, self.effective_tokens(D))

    def epochs(self, D: ArrayLike) -> Array:
        return np.asarray(np.asarray(D, float) / self.unique_tokens, float)

    def effective_tokens(self, D: ArrayLike) -> Array:
        return effective_tokens(D, self.unique_tokens, self.decay)
