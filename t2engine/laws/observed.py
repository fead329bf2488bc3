"""Observations: how often each checkpoint answered each question. laws/observations.py reads them.

Units:  N parameters, embeddings included; D training tokens; gold_nll a natural-log loss summed
        over the gold answer's tokens.
Shapes: columns of `Observations` are [R], one entry a checkpoint and question; checkpoints are [M].
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2engine.laws.gamma import Array
from t2engine.schema import Observation


@dataclass(frozen=True)
class Checkpoint:
    """One trained model: its name, N parameters, D training tokens."""

    model: str
    N: int
    D: int


@dataclass(frozen=True, eq=False)
class Observations:
    """Observations in columns: ten million rows take 32 bytes each, not a Python object."""

    source: str
    checkpoints: tuple[Checkpoint, ...]  # [M]
    questions: tuple[str, ...]
    checkpoint: NDArray[np.int32]  # [R] index into checkpoints
    question: NDArray[np.int32]  # [R] index into questions
    num_samples: NDArray[np.int64]  # [R]
    num_correct: NDArray[np.int64]  # [R]
    gold_nll: Array  # [R], nan where nobody measured it

    def __len__(self) -> int:
        return len(self.num_samples)

    def __iter__(self) -> Iterator[Observation]:
        for row in range(len(self)):
            at, nll = self.checkpoints[self.checkpoint[row]], float(self.gold_nll[row])
            yield Observation(
                model=at.model,
                N=at.N,
                D=at.D,
                question=self.questions[self.question[row]],
                num_samples=int(self.num_samples[row]),
                num_correct=int(self.num_correct[row]),
                gold_nll=None if math.isnan(nll) else nll,
            )
