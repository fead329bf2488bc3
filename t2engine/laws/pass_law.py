"""What every law of pass@k offers, to the planner and to laws that wrap another.

Shapes: arrays of N, D and k broadcast.
Units:  N parameters, D training tokens, k samples per question.
"""

from __future__ import annotations

from typing import Protocol

from numpy.typing import ArrayLike

from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.gamma import Array
from t2engine.laws.law import FitReport


class PassLaw(Protocol):
    """What the planner needs of a law: predictions for arrays of N, D and k, which broadcast."""

    @property
    def name(self) -> str: ...

    @property
    def training(self) -> ChinchillaLaw: ...

    @property
    def fit(self) -> FitReport | None: ...

    def pass_at_k(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array: ...

    def merit(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        """Rises with pass@k, and goes on rising where pass@k has rounded to 1."""
        ...
