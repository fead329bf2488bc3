"""What a plan may not pass: data, sizes, samples, the seconds of an answer, memory.

    D <= min(max_tokens, unique_tokens max_epochs),    k <= max_k
    min_size <= N <= max_size, and N one of allowed_sizes where there are any
    seconds of one question <= max_latency_seconds,    weights, keys, values <= max_memory_bytes

Limits shape what a budget can buy at every N, so the optimum found is the best of those allowed.
A token that is repeated is paid for as a new one, and worth less (laws/repeated.py): the planner
itself decides how often unique_tokens are seen, up to MOST_EPOCHS where max_epochs is not given.

Units:  N parameters, D and unique_tokens training tokens, k samples per question, seconds, bytes.
Raises: ValueError for a limit that is not above 0, or that leaves no N.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2engine.costs.formula import CostModel, Demand
from t2engine.laws.gamma import Array
from t2engine.laws.pass_law import PassLaw
from t2engine.laws.repeated import RepeatedData, effective_tokens

BINDS = 1e-6  # relative distance at which a plan lies on a limit
MOST_EPOCHS = 40.0  # from where Muennighoff et al. find further repeats worthless


@dataclass(frozen=True)
class Limits:
    """Every limit is optional. Latency and memory need measured costs; the latency is that of a
    question served alone."""

    max_tokens: float | None = None
    unique_tokens: float | None = None
    max_epochs: float | None = None  # MOST_EPOCHS where only unique_tokens is given
    max_k: float | None = None
    min_size: float | None = None
    max_size: float | None = None
    allowed_sizes: tuple[float, ...] = ()
    max_latency_seconds: float | None = None
    max_memory_bytes: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None and not 0 < number < math.inf:
                    raise ValueError(f"{name} must be above 0 and finite, got {number:g}")
        if self.max_epochs is not None and self.unique_tokens is None:
            raise ValueError("max_epochs needs unique_tokens, the data that is repeated")
        if self.max_epochs is not None and self.max_epochs < 1:
            raise ValueError(f"max_epochs must be at least 1, got {self.max_epochs:g}")
        if self.max_k is not None and self.max_k < 1:
            raise ValueError(f"max_k must be at least 1, got {self.max_k:g}")
        low, high = self.size_range
        if low > high:
            raise ValueError(f"min_size must be at most max_size, got {low:g} and {high:g}")
        if self.allowed_sizes and not self.allowed:
            raise ValueError(f"none of allowed_sizes lies within {low:g} to {high:g}")

    @property
    def any(self) -> bool:
        return self != Limits()

    @property
    def most_tokens(self) -> float:
        repeated = math.inf
        if self.unique_tokens is not None:
            repeated = self.unique_tokens * (self.max_epochs or MOST_EPOCHS)
        return min(repeated, math.inf if self.max_tokens is None else self.max_tokens)

    def effective_tokens(self, D: float) -> float:
        """The new tokens that D are worth."""
        if self.unique_tokens is None:
            return D
        return float(effective_tokens(D, self.unique_tokens))

    def judge(self, law: PassLaw) -> PassLaw:
        """`law` trained on the data there is."""
        return law if self.unique_tokens is None else RepeatedData(law, self.unique_tokens)

    @property
    def size_range(self) -> tuple[float, float]:
        return self.min_size or 0.0, math.inf if self.max_size is None else self.max_size

    @property
    def allowed(self) -> tuple[float, ...]:
        """Those of allowed_sizes within the range, in rising order; none where N is free."""
        low, high = self.size_range
        return tuple(sorted({N for N in self.allowed_sizes if low <= N <= high}))

    def within(self, low: float, high: float) -> tuple[float, float]:
        """The allowed part of a range of N; where there is none, as wide a range that is."""
        least, most = self.size_range
        if least > high:
            return least, min(most, least * high / low)
        if most < low:
            return max(least, most * low / high), most
        return max(low, least), min(high, most)

    def most_samples(self, N: ArrayLike, cost: CostModel, demand: Demand) -> Array:
        most = np.full(np.shape(N), math.inf if self.max_k is None else self.max_k)
        if self.max_latency_seconds is not None:
            most = np.minimum(most, cost.samples_within(N, self.max_latency_seconds, demand))
        return most

    def fits(
        self, N: ArrayLike, k: ArrayLike, cost: CostModel, demand: Demand
    ) -> NDArray[np.bool_]:
        if self.max_memory_bytes is None:
            return np.ones(np.broadcast_shapes(np.shape(N), np.shape(k)), bool)
        return np.asarray(cost.memory_bytes(N, k, demand) <= self.max_memory_bytes)

    def binding(
        self, N: float, D: float, k: float, cost: CostModel, demand: Demand
    ) -> tuple[str, ...]:
        """A sentence for each limit that the plan lies on."""
        sentences = []
        if self.most_tokens <= D * (1 + BINDS):
            epochs = "" if self.unique_tokens is None else f", {D / self.unique_tokens:.3g} epochs"
            sentences.append(f"the data wall holds D at {D:.3g} tokens{epochs}")
        if self.unique_tokens is not None and self.unique_tokens < D * (1 - BINDS):
            sentences.append(
                f"tokens are repeated: {D / self.unique_tokens:.3g} epochs of "
                f"{self.unique_tokens:.3g} tokens are worth {self.effective_tokens(D):.3g} new ones"
            )
        if self.max_k is not None and self.max_k <= k * (1 + BINDS):
            sentences.append(f"the limit on samples holds k at {self.max_k:g}")
        if self.max_latency_seconds is not None:
            most = float(cost.samples_within(N, self.max_latency_seconds, demand))
            if most <= k * (1 + BINDS):
                sentences.append(
                    f"the limit of {self.max_latency_seconds:g} s for a question holds k at {k:.3g}"
                )
        if self.max_memory_bytes is not None:
            needed = float(cost.memory_bytes(N, k, demand))
            if self.max_memory_bytes <= needed * 1.01:  # prices of memory are interpolated
                sentences.append(f"the limit of {self.max_memory_bytes:.3g} bytes of memory binds")
        if self.allowed:
            sentences.append(f"N is one of {len(self.allowed)} sizes that are allowed")
            return tuple(sentences)
        low, high = self.size_range
        if low >= N * (1 - BINDS):
            sentences.append(f"the limit on size holds N at no less than {low:.3g}")
        if high <= N * (1 + BINDS):
            sentences.append(f"the limit on size holds N at no more than {high:.3g}")
        return tuple(sentences)
