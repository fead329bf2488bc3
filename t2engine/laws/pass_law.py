"""What every law of pass@k offers, to the planner and to laws that wrap another.

Some laws also say how p is spread over questions, as Beta(a, b): what one verifier, or stopping at
an answer that is right, makes of a question depends on its p. Approach 1 says its mean alone.

Shapes: arrays of N, D and k broadcast.
Units:  N parameters, D training tokens, k samples per question.
Raises: ValueError where a spread is asked of a law that has none.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

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


@runtime_checkable
class SpreadLaw(PassLaw, Protocol):
    """A law of p ~ Beta(a, b)."""

    def spread_at(self, N: ArrayLike, D: ArrayLike) -> tuple[Array, Array]:
        """a and b."""
        ...


def as_spread(law: PassLaw) -> SpreadLaw:
    if isinstance(law, SpreadLaw):
        return law
    raise ValueError(
        f"a verifier, or stopping at the first right answer, needs a law of how success is spread "
        f"over questions, {law.name} has only its mean: plan with the law counts or approach2"
    )
