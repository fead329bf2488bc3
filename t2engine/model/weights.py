"""The weights of a model directory, in the vocabulary of `names.py`.

Opening checks every tensor from the file headers alone; nothing is allocated before all are known
to be present with the right shape. Loading then reads one tensor at a time straight into its final
place, and packing takes a weight's rows as they lie in the mapped file, a strip at a time, so that
memory holds the model once and never the file beside it.

Units:  bytes as stored in the files.
Raises: ValueError naming the file and tensor, what was expected and what was found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from t2engine.model.fields import show
from t2engine.model.names import OLD_BUFFERS, Recipe, family_names, recipes
from t2engine.model.safetensors import (
    TORCH_DTYPES,
    StoredTensor,
    map_rows,
    read_index,
    read_rows,
    same_bytes,
)
from t2engine.ops import PANEL, Arena, PackedWeight, hadamard, largest_block, pack_strips
from t2engine.schema import ModelConfig

STRIP_BYTES = 1 << 23  # of a weight, mapped and packed at a time
EXACT = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True)
class Affine:
    """The parameters of a projection or a norm; no bias is None."""

    weight: Tensor
    bias: Tensor | None


class Weights(Protocol):
    """Where a model's weights come from."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def mapped_bytes(self) -> int:
        """Of what is loaded, what stays pages of a file."""
        return 0

    def load(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor: ...

    def load_packed(self, name: str, dtype: torch.dtype, threads: int) -> PackedWeight: ...

    def load_affine(self, name: str, dtype: torch.dtype = torch.float32) -> Affine:
        """`name`.weight and, where the model has one, `name`.bias."""
        has_bias = f"{name}.bias" in self.names
        bias = self.load(f"{name}.bias", dtype) if has_bias else None
        return Affine(self.load(f"{name}.weight", dtype), bias)


@dataclass(frozen=True)
class WeightFiles(Weights):
    """A checked checkpoint, from which tensors are loaded one at a time."""

    model_dir: Path
    recipes: Mapping[str, Recipe]
    stored: Mapping[str, StoredTensor]  # the tensors the recipes use, by their stored names
    arena: Arena = field(default_factory=Arena, compare=False)  # of packed weights

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.recipes)

    @property
    def bytes(self) -> int:
        return sum(tensor.end - tensor.start for tensor in self.stored.values())

    @property
    def dtype(self) -> str:
        """The one that holds every tensor exactly."""
        stored = {tensor.dtype for tensor in self.stored.values()}
        return EXACT[stored.pop()] if len(stored) == 1 else "float32"

    @property
    def num_params(self) -> int:
        """Parameters, a tied embedding counted once."""
        return sum(math.prod(tensor.shape) for tensor in self.stored.values())

    def shape(self, name: str) -> tuple[int, ...]:
        return self.recipes[name].shape

    def load(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """A fresh tensor; the caller owns it."""
        return self.load_rows(name, 0, self.shape(name)[0], dtype)

    def load_rows(
        self, name: str, start: int, stop: int, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Rows start to stop of a tensor, for consumers that never need the whole of it."""
        recipe = self.recipes[name]
        out = torch.empty(stop - start, *recipe.shape[1:], dtype=dtype)
        at = 0  # the row of our tensor where the segment begins
        for source, first_row, count in recipe.segments():
            low, high = max(start, at), min(stop, at + count)
            if low < high:
                rows = out[low - start : high - start]
                read_rows(self.stored[source], first_row + low - at, rows)
            at += count
        return out

    def load_packed(self, name: str, dtype: torch.dtype, threads: int) -> PackedWeight:
        """A weight as the kernels read it; `threads` of them pack."""
        N, K = self.shape(name)
        block = mixing_block(name, K, dtype)
        strips = self.strips(name)
        if block > 1:
            strips = (hadamard(strip.float(), block, threads=threads) for strip in strips)
        return pack_strips(N, K, strips, dtype, threads, self.arena)

    def strips(self, name: str) -> Iterator[Tensor]:
        """The rows of a matrix in order, in strips of whole panels, the last but for what is left.

        A strip is the file's own pages, in the stored dtype. Only the panel that straddles two
        segments is copied, as float32.
        """
        recipe = self.recipes[name]
        num_rows = recipe.shape[0]
        row, start = 0, 0  # the next row to give, and where the segment begins
        for source, first_row, count in recipe.segments():
            stored = self.stored[source]
            row_bytes = (stored.end - stored.start) // stored.shape[0]
            at_once = max(1, STRIP_BYTES // (row_bytes * PANEL)) * PANEL
            end = start + count
            while row < end:
                rows = min(at_once, end - row)
                if row + rows < num_rows:
                    rows -= rows % PANEL
                if rows:
                    yield map_rows(stored, first_row + row - start, rows)
                else:
                    rows = min(PANEL, num_rows - row)
                    yield self.load_rows(name, row, row + rows)
                row += rows
            start = end


def mixing_block(name: str, in_features: int, dtype: torch.dtype) -> int:
    """The Hadamard block that mixes a weight's inputs before they are rounded; 1 for none.

    Inputs of the down projection are products of two activations: a few of a row's stand out, and
    would leave int8 codes little for the others.
    """
    mixed = dtype == torch.int8 and name.endswith(".down.weight")
    return largest_block(in_features) if mixed else 1


def open_weights(model_dir: Path, config: ModelConfig) -> WeightFiles:
    """Check that the files of `model_dir` hold exactly the tensors `config` asks for."""
    model_dir = Path(model_dir)
    available = read_index(model_dir)
    wanted: dict[str, Recipe] = {}
    stored: dict[str, StoredTensor] = {}
    for recipe in recipes(config):
        for name, shape in recipe.sources:
            stored[name] = find_tensor(model_dir, available, name, shape)
        wanted[recipe.name] = recipe
    check_unused(model_dir, config, available, stored)
    return WeightFiles(model_dir, wanted, stored)


def find_tensor(
    model_dir: Path, available: Mapping[str, StoredTensor], name: str, shape: tuple[int, ...]
) -> StoredTensor:
    if name not in available:
        raise ValueError(
            f"{model_dir}: missing tensor: expected {name} {list(shape)} in the safetensors files"
        )
    tensor = available[name]
    if tensor.shape != shape:
        raise ValueError(
            f"{tensor.path}: {name} must have shape {list(shape)} by config.json,"
            f" got {list(tensor.shape)}"
        )
    if tensor.dtype not in TORCH_DTYPES:
        raise ValueError(
            f"{tensor.path}: {name} must be stored as {', '.join(TORCH_DTYPES)}, got {tensor.dtype}"
        )
    return tensor


def check_unused(
    model_dir: Path,
    config: ModelConfig,
    available: Mapping[str, StoredTensor],
    stored: Mapping[str, StoredTensor],
) -> None:
    """Old buffers and an equal copy of a tied embedding are left alone; anything else is refused.

    A tensor nobody reads means that config.json does not describe these weights, for example a
    bias it does not mention: running on would give wrong answers.
    """
    names = family_names(config)
    for name, tensor in available.items():
        if name in stored or OLD_BUFFERS.fullmatch(name):
            continue
        if name != names.lm_head or not config.tied_embeddings:
            raise ValueError(
                f"{tensor.path}: unexpected tensor {show(name)} {list(tensor.shape)}: a"
                f" {config.family} model with this config.json has no such weight"
            )
        if not same_bytes(tensor, stored[names.embed]):
            raise ValueError(
                f"{tensor.path}: {name} must equal {names.embed} because config.json says"
                " tie_word_embeddings, got other values; set it to false to use both"
            )
