"""Where keys and values live: one copy of each prompt's, and each sample's own.

Prefix store: per layer [H_kv, P, D], in whose columns prompts own segments from their prefill until
their last sample has finished (prefix_tree.py). Suffix store: per layer [slots, H_kv, S, D]; a
sample owns a slot while it decodes. Nothing is moved, and what is freed is simply written over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from t2engine.engine.memory import MemoryPlan
from t2engine.ops import QuantizedVectors, Vectors, flat_vectors, huge_empty, store_vectors
from t2engine.schema import ModelConfig

CACHE_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}


class KeyValueCache:
    """The stores of every layer, of float32, bfloat16 or int8 (codes with a scale a vector)."""

    def __init__(
        self,
        config: ModelConfig,
        plan: MemoryPlan,
        dtype: str,
        empty: Callable[[tuple[int, ...], torch.dtype], Tensor] = huge_empty,
    ) -> None:
        """empty: where the stores lie."""
        prefix = config.num_kv_heads, plan.prefix_capacity, config.head_dim
        suffix = plan.slots, config.num_kv_heads, plan.suffix_capacity, config.head_dim
        self.slots, self.suffix_capacity = plan.slots, plan.suffix_capacity
        stored = CACHE_DTYPES[dtype]
        self.prefix_keys, self.prefix_values = allocate(config.num_layers, prefix, stored, empty)
        self.suffix_keys, self.suffix_values = allocate(config.num_layers, suffix, stored, empty)

    def layers(self) -> Iterator[tuple[Vectors, Vectors, Vectors, Vectors]]:
        """Prefix keys and values, suffix keys and values, layer by layer."""
        return zip(
            self.prefix_keys,
            self.prefix_values,
            self.suffix_keys,
            self.suffix_values,
            strict=True,
        )

    def write_prefix(self, layer: int, columns: Tensor, k: Tensor, v: Tensor) -> None:
        """columns [T] int64; k, v [T, H_kv, D]."""
        H_kv, P, _ = self.prefix_keys[layer].shape
        at = torch.arange(H_kv) * P + columns[:, None]  # [T, H_kv]
        self.write(self.prefix_keys[layer], self.prefix_values[layer], at, k, v)

    def write_suffix(self, layer: int, slots: Tensor, at: Tensor, k: Tensor, v: Tensor) -> None:
        """slots, at [R] int64; k, v [R, H_kv, D]."""
        _, H_kv, S, _ = self.suffix_keys[layer].shape
        place = (slots[:, None] * H_kv + torch.arange(H_kv)) * S + at[:, None]  # [R, H_kv]
        self.write(self.suffix_keys[layer], self.suffix_values[layer], place, k, v)

    def write(self, keys: Vectors, values: Vectors, at: Tensor, k: Tensor, v: Tensor) -> None:
        for store, vectors in ((keys, k), (values, v)):
            store_vectors(flat_vectors(store), at.flatten(), vectors.flatten(0, -2))


def allocate(
    num_layers: int,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    empty: Callable[[tuple[int, ...], torch.dtype], Tensor],
) -> tuple[list[Vectors], list[Vectors]]:
    """Keys and values of every layer in one allocation, which goes back to the system whole."""
    keys, values = empty((2, num_layers, *shape), dtype)
    if dtype != torch.int8:
        return list(keys), list(values)
    key_scales, value_scales = torch.empty(2, num_layers, *shape[:-1])
    return (
        [QuantizedVectors(*pair) for pair in zip(keys, key_scales, strict=True)],
        [QuantizedVectors(*pair) for pair in zip(values, value_scales, strict=True)],
    )
