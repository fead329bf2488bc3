"""What a way to do decode attention must offer, to be checked and timed beside the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from benchmarks.gpu.shapes import Inputs, Shape

OURS = "t2"  # begins the names of our variants
Call = Callable[[], Tensor]  # -> out [k, H_kv G, D]


@dataclass(frozen=True)
class Prepared:
    """One call for each set of inputs; everything that can be planned before is done."""

    calls: list[Call]
    plan_seconds: float  # of one plan, on the host


class Variant(Protocol):
    name: str

    def why_not(self, shape: Shape) -> str | None:
        """Why it cannot do this shape here, in one line; None when it can."""

    def bytes_of_set(self, shape: Shape) -> int:
        """Keys and values as it stores them."""

    def prepare(self, shape: Shape, sets: list[Inputs]) -> Prepared: ...
