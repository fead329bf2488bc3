"""What training and serving cost: the formula costs, behind the interface a calibration shares.

    train = 6 N D                  serve = Q 2 N (k T + P)

Units:  N parameters, D training tokens, k samples per question, Q questions, T output tokens per
        sample, P prompt tokens read once per question (their KV is shared by the k samples).
Shapes: every argument broadcasts.
Source: Kaplan et al., arXiv:2001.08361, section 2.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Demand:
    """What will be served: Q questions, T output tokens per sample, P prompt tokens."""

    questions: float = 1.0
    output_tokens: float = 1.0
    prompt_tokens: float = 0.0

    def __post_init__(self) -> None:
        for name in ("questions", "output_tokens"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.prompt_tokens < math.inf:
            raise ValueError(f"prompt_tokens must be 0 or more, got {self.prompt_tokens}")


@dataclass(frozen=True)
class Spread:
    """Intervals of 90 % of what a plan costs to train and to serve, low to high, in the unit of
    the costs, and sentences on where they rest on no measurement."""

    train: tuple[float, float]
    serve: tuple[float, float]
    notes: tuple[str, ...]


class CostModel(Protocol):
    """Prices a plan in one unit; `serve` is for the whole demand."""

    @property
    def unit(self) -> str: ...

    @property
    def measured(self) -> bool: ...

    @property
    def description(self) -> str:
        """Where the costs come from, in words."""
        ...

    def train(self, N: ArrayLike, D: ArrayLike) -> Array: ...

    def serve(self, N: ArrayLike, k: ArrayLike, demand: Demand) -> Array: ...

    def tokens_for(self, N: ArrayLike, budget: ArrayLike) -> Array:
        """The D that `budget` trains at N."""
        ...

    def samples_for(self, N: ArrayLike, budget: ArrayLike, demand: Demand) -> Array:
        """The k that `budget` serves at N; below 1 where not even one sample fits."""
        ...

    def samples_within(self, N: ArrayLike, seconds: float, demand: Demand) -> Array:
        """The k that one question, served alone, gets within some seconds.

        Raises: ValueError for costs that know no seconds.
        """
        ...

    def memory_bytes(self, N: ArrayLike, k: ArrayLike, demand: Demand) -> Array:
        """Weights, keys and values of all that is served at once; the same error."""
        ...

    def spread(self, N: float, D: float, k: float, demand: Demand) -> Spread | None:
        """How far off the costs of one plan may be; None for costs that are exact by definition."""
        ...


@dataclass(frozen=True)
class FormulaCost:
    """6 N D and 2 N per served token, in FLOPs: no hardware, no attention, no overhead."""

    train_flops_per_parameter: float = 6.0  # and token
    serve_flops_per_parameter: float = 2.0  # and token

    unit = "flops"
    measured = False
    description = "formula: 6ND to train, 2N per served token"

    def train(self, N: ArrayLike, D: ArrayLike) -> Array:
        flops = self.train_flops_per_parameter * np.asarray(N, float) * np.asarray(D, float)
        return np.asarray(flops, float)

    def serve(self, N: ArrayLike, k: ArrayLike, demand: Demand) -> Array:
        tokens = np.asarray(k, float) * demand.output_tokens + demand.prompt_tokens
        per_question = self.serve_flops_per_parameter * np.asarray(N, float) * tokens
        return np.asarray(demand.questions * per_question, float)

    def tokens_for(self, N: ArrayLike, budget: ArrayLike) -> Array:
        return np.asarray(budget, float) / (self.train_flops_per_parameter * np.asarray(N, float))

    def samples_for(self, N: ArrayLike, budget: ArrayLike, demand: Demand) -> Array:
        flops = demand.questions * self.serve_flops_per_parameter * np.asarray(N, float)
        tokens = np.asarray(budget, float) / flops - demand.prompt_tokens
        return np.asarray(tokens / demand.output_tokens, float)

    def spread(self, N: float, D: float, k: float, demand: Demand) -> None:
        return None

    def samples_within(self, N: ArrayLike, seconds: float, demand: Demand) -> Array:
        raise ValueError(
            "a limit on latency needs the costs of a machine, got formula costs: give a profile"
        )

    def memory_bytes(self, N: ArrayLike, k: ArrayLike, demand: Demand) -> Array:
        raise ValueError(
            "a limit on memory needs the costs of a machine, got formula costs: give a profile"
        )
