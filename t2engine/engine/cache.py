"""Where keys and values live: one copy of each prompt's, and each sample's own.

Prefix store: per layer [H_kv, P, D], in which a prompt owns a span of columns from its prefill
until its last sample has finished. Suffix store: per layer [slots, H_kv, S, D]; a sample owns a
slot while it decodes. Nothing is moved, and a freed span or slot is simply written over.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.schema import ModelConfig


def allocate(num_layers: int, shape: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """Keys and values of every layer in one allocation, which goes back to the system whole."""
    keys, values = torch.empty(2, num_layers, *shape)
    return list(keys), list(values)


class PrefixStore:
    """Keys and values of the prompts being sampled, and which columns are free."""

    def __init__(self, config: ModelConfig, capacity: int) -> None:
        shape = config.num_kv_heads, capacity, config.head_dim
        self.keys, self.values = allocate(config.num_layers, shape)
        self.free = [(0, capacity)]  # disjoint spans in rising order

    def allocate(self, length: int) -> tuple[int, int] | None:
        """The first free span of `length` columns; None when there is none now."""
        for i, (start, stop) in enumerate(self.free):
            if stop - start >= length:
                self.free[i : i + 1] = [(start + length, stop)] if stop - start > length else []
                return start, start + length
        return None

    def release(self, span: tuple[int, int]) -> None:
        merged: list[tuple[int, int]] = []
        for start, stop in sorted([*self.free, span]):
            if merged and merged[-1][1] == start:
                merged[-1] = merged[-1][0], stop
            else:
                merged.append((start, stop))
        self.free = merged

    def write(self, layer: int, columns: Tensor, k: Tensor, v: Tensor) -> None:
        """columns [T] int64; k, v [T, H_kv, D]."""
        self.keys[layer].index_copy_(1, columns, k.transpose(0, 1))
        self.values[layer].index_copy_(1, columns, v.transpose(0, 1))


class SuffixStore:
    """Keys and values that samples add to their prompts, by slot."""

    def __init__(self, config: ModelConfig, slots: int, capacity: int) -> None:
        shape = slots, config.num_kv_heads, capacity, config.head_dim
        self.keys, self.values = allocate(config.num_layers, shape)

    def write(self, layer: int, slots: Tensor, at: Tensor, k: Tensor, v: Tensor) -> None:
        """slots, at [R] int64; k, v [R, H_kv, D]."""
        self.keys[layer][slots, :, at] = k
        self.values[layer][slots, :, at] = v
