"""Weights of any shape without a file: for measurements, which do not depend on what they say.

Matrices are normal with a standard deviation of 0.02, norms are one. One strip of random numbers
serves every matrix, so that a model of a gigabyte is there in a second.

Source: 0.02 is transformers' initializer_range.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from t2engine.model.names import recipes
from t2engine.model.weights import Weights
from t2engine.ops import PANEL, Arena, PackedWeight, pack_strips
from t2engine.schema import ModelConfig

SPREAD = 0.02
STRIP_ELEMENTS = 1 << 20


class RandomWeights(Weights):
    """A model's worth of random numbers, in the vocabulary of `names.py`."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        self.shapes = {recipe.name: recipe.shape for recipe in recipes(config)}
        widest = max(shape[-1] for shape in self.shapes.values())
        generator = torch.Generator().manual_seed(seed)
        self.strip = SPREAD * torch.randn(max(STRIP_ELEMENTS, PANEL * widest), generator=generator)
        self.arena = Arena()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.shapes)

    def load(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        shape = self.shapes[name]
        if len(shape) == 1:
            is_scale = name.endswith("norm") or name.endswith("norm.weight")
            return torch.full(shape, float(is_scale), dtype=dtype)
        out = torch.empty(shape, dtype=dtype)
        at = 0
        for strip in self.strips(*shape):
            out[at : at + len(strip)] = strip
            at += len(strip)
        return out

    def load_packed(self, name: str, dtype: torch.dtype, threads: int) -> PackedWeight:
        rows, columns = self.shapes[name]
        return pack_strips(rows, columns, self.strips(rows, columns), dtype, threads, self.arena)

    def strips(self, rows: int, columns: int) -> Iterator[Tensor]:
        """The same numbers again and again, in strips of whole panels but for the last."""
        at_once = self.strip.numel() // columns // PANEL * PANEL
        for first in range(0, rows, at_once):
            count = min(at_once, rows - first)
            yield self.strip[: count * columns].view(count, columns)
