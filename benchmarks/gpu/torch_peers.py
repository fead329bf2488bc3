"""What torch itself, and xformers, offer for the same work."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.shapes import Inputs, Shape
from benchmarks.gpu.variants import Prepared

BLOCK = 128  # of FlexAttention's masks
FLEX_SHAPES = ((64, 2048), (1024, 2048))  # samples, prompt tokens; each is a minute of compiling


class Sdpa:
    """scaled_dot_product_attention over every sample's own copy of the prompt's keys.

    The query heads of a key head are its queries, so that no key is repeated within a sample.
    """

    name = "torch sdpa, prefix expanded"

    def why_not(self, shape: Shape) -> str | None:
        return None

    def bytes_of_set(self, shape: Shape) -> int:
        return shape.expanded_bytes

    def prepare(self, shape: Shape, sets: list[Inputs]) -> Prepared:
        return Prepared([partial(self.run, *self.expand(shape, x), shape.scale) for x in sets], 0)

    def expand(self, shape: Shape, x: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        (H_kv, G, D), k = shape.heads, shape.num_samples
        keys = torch.cat([x.prefix_k.expand(k, -1, -1, -1), x.own_k], dim=2)
        values = torch.cat([x.prefix_v.expand(k, -1, -1, -1), x.own_v], dim=2)
        return x.q.view(k, H_kv, G, D), keys, values

    def run(self, q: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        out = torch.nn.functional.scaled_dot_product_attention(q, keys, values, scale=scale)
        return out.reshape(len(q), -1, q.shape[-1])


class Flex:
    """FlexAttention with the prompt's keys once: one long row of keys, one long row of queries.

    Query i belongs to sample i // G; it sees the prompt and its sample's block of 128 own keys.
    """

    name = "torch FlexAttention, prefix shared"

    def __init__(self, compiled: bool = True) -> None:
        self.compiled = compiled

    def why_not(self, shape: Shape) -> str | None:
        if (shape.num_samples, shape.prefix_len) not in FLEX_SHAPES:
            return "compiled for few shapes only: each takes long"
        return None

    def bytes_of_set(self, shape: Shape) -> int:
        return shape.shared_bytes

    def prepare(self, shape: Shape, sets: list[Inputs]) -> Prepared:
        from torch.nn.attention.flex_attention import flex_attention

        run: Any = flex_attention
        if self.compiled:
            torch._dynamo.reset()
            run = torch.compile(flex_attention, dynamic=False)
        mask = self.mask(shape, sets[0].q.device)
        return Prepared(
            [partial(self.run, run, shape, *self.rows(shape, x), mask) for x in sets], 0
        )

    def rows(self, shape: Shape, x: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """q [1, H_kv, k G, D]; keys and values [1, H_kv, P + k S, D]."""
        (H_kv, G, D), k = shape.heads, shape.num_samples
        q = x.q.view(k, H_kv, G, D).transpose(0, 1).reshape(1, H_kv, k * G, D)

        def joined(prefix: Tensor, own: Tensor) -> Tensor:
            return torch.cat([prefix, own.transpose(0, 1).reshape(H_kv, -1, D)], dim=1)[None]

        return q, joined(x.prefix_k, x.own_k), joined(x.prefix_v, x.own_v)

    def mask(self, shape: Shape, device: torch.device) -> Any:
        """Blocks are listed, not searched for: the whole mask would be queries times keys."""
        from torch.nn.attention.flex_attention import BlockMask

        (_, G, _), k, P, S = shape.heads, shape.num_samples, shape.prefix_len, shape.suffix_len
        assert P % BLOCK == 0
        assert S == BLOCK
        starts = torch.arange(0, k * G, BLOCK)
        first, last = starts // G, (starts + BLOCK - 1).clamp(max=k * G - 1) // G
        blocks = P // BLOCK + k  # torch takes the width of the lists for their number
        own = (P // BLOCK + first[:, None] + torch.arange(blocks)).clamp(max=blocks - 1)
        prompt = torch.arange(blocks).expand(len(starts), -1)
        counts = (last - first + 1, torch.full_like(first, P // BLOCK))
        partial_blocks, full_blocks = (
            (count.int()[None, None].to(device), listed.int()[None, None].contiguous().to(device))
            for count, listed in zip(counts, (own, prompt), strict=True)
        )

        def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (key < P) | ((key - P) // S == query // G)

        return BlockMask.from_kv_blocks(
            *partial_blocks, *full_blocks, BLOCK, sees, seq_lengths=(k * G, P + k * S)
        )

    def run(
        self, flex: Any, shape: Shape, q: Tensor, keys: Tensor, values: Tensor, mask: Any
    ) -> Tensor:
        (H_kv, G, D), k = shape.heads, shape.num_samples
        out = flex(q, keys, values, block_mask=mask, scale=shape.scale)
        return out.view(H_kv, k, G, D).transpose(0, 1).reshape(k, H_kv * G, D)


class Xformers:
    """Attention to the prompt and to own keys, each with its lse, and their merge."""

    name = "xformers partial + merge"

    def why_not(self, shape: Shape) -> str | None:
        return None if importlib.util.find_spec("xformers") else "xformers is not installed"

    def bytes_of_set(self, shape: Shape) -> int:
        return shape.shared_bytes

    def prepare(self, shape: Shape, sets: list[Inputs]) -> Prepared:
        return Prepared([partial(self.run, shape, *self.parts(shape, x)) for x in sets], 0)

    def parts(self, shape: Shape, x: Inputs) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """(q, keys, values) of the prompt and of own keys, each [B, M, H_kv, G, D]."""
        (H_kv, G, D), k = shape.heads, shape.num_samples
        q = x.q.view(k, H_kv, G, D)

        def keys(tensor: Tensor) -> Tensor:  # [B, H_kv, M, D]; G of one key head share it
            return tensor.transpose(1, 2)[:, :, :, None].expand(-1, -1, -1, G, -1)

        prompt = (q[None], keys(x.prefix_k[None]), keys(x.prefix_v[None]))
        return prompt, (q[:, None], keys(x.own_k), keys(x.own_v))

    def run(self, shape: Shape, prompt: tuple[Any, ...], own: tuple[Any, ...]) -> Tensor:
        from xformers.ops import fmha

        (H_kv, G, D), k = shape.heads, shape.num_samples
        scale = shape.scale
        out_a, lse_a = fmha.memory_efficient_attention_partial(*prompt, scale=scale)
        out_b, lse_b = fmha.memory_efficient_attention_partial(*own, scale=scale)
        lse_a = lse_a[..., :k].permute(3, 1, 2, 0)  # [1, H_kv, G, k] as [k, H_kv, G, 1]
        parts = [out_a.reshape(k, 1, H_kv, G, D), out_b]
        out, _ = fmha.merge_attentions(parts, [lse_a, lse_b[..., :1]], write_lse=False)
        return out.reshape(k, H_kv * G, D)
