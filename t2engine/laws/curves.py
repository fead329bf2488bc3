"""What the laws of curves are fitted on: one curve over k for every checkpoint.

Shapes: [M, K] over checkpoints and k. A checkpoint without one success has nll nan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2engine.laws.gamma import Array


@dataclass(frozen=True, eq=False)
class PassCurves:
    """`pass_at_k` is a mean over questions, `nll` the mean of -ln of each question's pass@k."""

    source: str
    models: tuple[str, ...]
    N: Array
    D: Array
    k: Array
    pass_at_k: Array
    nll: Array
    task_nll: Array

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Checkpoints with at least one success, [M]: only these have a finite nll."""
        return np.isfinite(self.nll[:, 0])

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> PassCurves:
        """By a mask, or by row numbers, which may repeat."""
        return PassCurves(
            source=self.source,
            models=tuple(np.array(self.models)[rows].tolist()),
            N=self.N[rows],
            D=self.D[rows],
            k=self.k,
            pass_at_k=self.pass_at_k[rows],
            nll=self.nll[rows],
            task_nll=self.task_nll[rows],
        )
