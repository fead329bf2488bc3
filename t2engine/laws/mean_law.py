"""One law for several tasks that one training mixture serves: the mean of their pass@k.

    pass@k(N, D, k) = mean over tasks of pass@k_task(N, D, k)

`training` is the loss that compute-optimal training would look at: for all tasks together.

Shapes: predictions broadcast.
Raises: ValueError without a law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.gamma import Array
from t2engine.laws.law import FitReport
from t2engine.laws.pass_law import PassLaw


@dataclass(frozen=True)
class MeanLaw:
    laws: tuple[PassLaw, ...]
    training: ChinchillaLaw

    def __post_init__(self) -> None:
        if not self.laws:
            raise ValueError("a mean of laws needs at least 1, got none")

    @property
    def name(self) -> str:
        return self.laws[0].name

    @property
    def fit(self) -> FitReport | None:
        """The first task's: all tasks were asked of the same checkpoints."""
        return self.laws[0].fit

    def pass_at_k(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        return np.asarray(np.mean([law.pass_at_k(N, D, k) for law in self.laws], axis=0), float)

    def merit(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        """-ln of the mean failure, which tells plans apart where pass@k has rounded to 1."""
        log_fail = [-np.asarray(law.merit(N, D, k), float) for law in self.laws]
        mean = np.logaddexp.reduce(np.broadcast_arrays(*log_fail), axis=0) - np.log(len(log_fail))
        return np.asarray(-mean, float)
