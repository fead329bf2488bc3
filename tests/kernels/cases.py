"""Small cases of shared_prefix_attention, for backends that are slow here."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from tests.cases import Case, Inputs


@dataclass(frozen=True)
class DecodeCase(Case):
    rows: tuple[int, ...]  # of each prompt
    prefix: tuple[int, ...]  # keys of each prompt
    suffix: tuple[int, ...]  # keys of each row, taken in turn
    num_heads: int
    num_kv_heads: int
    head_dim: int

    def inputs(self, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Inputs:
        g, H, H_kv, D = self.generator(), self.num_heads, self.num_kv_heads, self.head_dim
        R, S = sum(self.rows), max(self.suffix)
        # Keys that belong to nobody lie before, between and after those that do: all nan.
        stops = [2 * (i + 1) + n for i, n in enumerate(itertools.accumulate(self.prefix))]
        bounds = [[stop - n, stop] for stop, n in zip(stops, self.prefix, strict=True)]
        row_slot = torch.randperm(R + 2, generator=g)[:R]
        lengths = list(itertools.islice(itertools.cycle(self.suffix), R))
        stores = []
        for _ in range(2):
            prefix = torch.full((H_kv, stops[-1] + 3, D), torch.nan)
            for start, stop in bounds:
                prefix[:, start:stop] = torch.randn((H_kv, stop - start, D), generator=g)
            suffix = torch.full((R + 2, H_kv, S, D), torch.nan)
            for slot, length in zip(row_slot.tolist(), lengths, strict=True):
                suffix[slot, :, :length] = torch.randn((H_kv, length, D), generator=g)
            stores.append((prefix.to(dtype), suffix.to(dtype)))
        (prefix_k, suffix_k), (prefix_v, suffix_v) = stores
        q = torch.randn((R, H, D), generator=g).to(dtype)
        row_bounds = torch.tensor([0, *itertools.accumulate(self.rows)])
        suffix_len = torch.tensor(lengths, dtype=torch.int64)
        keys = prefix_k, prefix_v, torch.tensor(bounds), row_bounds, suffix_k, suffix_v
        return *(x.to(device) for x in (q, *keys, row_slot, suffix_len)), D**-0.5


DECODE = [
    DecodeCase((1,), (5,), (3,), num_heads=1, num_kv_heads=1, head_dim=16),
    DecodeCase((0,), (4,), (3,), num_heads=4, num_kv_heads=2, head_dim=64),
    DecodeCase((2,), (4,), (0,), num_heads=3, num_kv_heads=1, head_dim=64),  # no suffix yet
    DecodeCase((3,), (0,), (2, 0, 33), num_heads=4, num_kv_heads=4, head_dim=80),  # no prefix
    DecodeCase((4, 0, 3), (70, 9, 0), (0, 1, 9), num_heads=7, num_kv_heads=1, head_dim=64),
    DecodeCase((5, 6), (33, 65), (40, 0, 33), num_heads=6, num_kv_heads=2, head_dim=80),
    DecodeCase((11,), (130,), (7, 0), num_heads=12, num_kv_heads=4, head_dim=96),
    DecodeCase((9,), (200,), (5, 32), num_heads=8, num_kv_heads=1, head_dim=128),  # 72 queries
    DecodeCase((3,), (20,), (100, 97), num_heads=2, num_kv_heads=2, head_dim=64),
    DecodeCase((2, 17, 1), (64, 1, 40), (33, 1), num_heads=4, num_kv_heads=2, head_dim=6),
    DecodeCase((2,), (40,), (34,), num_heads=10, num_kv_heads=1, head_dim=132),
]
