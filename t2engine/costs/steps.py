"""What a step does, in the meter's own FLOPs and bytes, arranged as the cost model prices it.

    decode    one token of every row through all layers, and its logits
    prefill   a prompt in passes of at most `chunk_tokens`, and the logits after it

A step is some products, each with its rows, FLOPs and the bytes of its weight; attention of three
kinds, each with its FLOPs and the bytes of the keys it moves; and counts of what else there is.

A device runs a decode step at the next of its numbers of rows (row_buckets); the rows that pad it
are rows in all but attention.

Shapes: S steps; C products of a step, padded with zero counts.
Units:  FLOPs (two a multiply-add) and bytes, of the whole step.
Raises: ValueError when a step has no row, no prompt, or more prompts than samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from t2engine import metering
from t2engine.metering import Product
from t2engine.schema import ModelConfig, Precision

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DecodeStep:
    """One token for each of num_samples rows, of num_prompts prompts, evenly.

    What is timed is whole; what is predicted need not be.
    """

    num_samples: float
    num_prompts: float
    prefix_len: float
    suffix_len: float  # keys of its own that a sample attends to, the new one included

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 1:
                raise ValueError(f"{field.name} must be at least 1, got {value}")
        if self.num_prompts > self.num_samples:
            raise ValueError(
                f"num_prompts must be at most num_samples ({self.num_samples}), "
                f"got {self.num_prompts}"
            )


@dataclass(frozen=True)
class PrefillStep:
    """One prompt, alone, computed and stored."""

    prompt_len: int

    def __post_init__(self) -> None:
        if self.prompt_len < 1:
            raise ValueError(f"prompt_len must be at least 1, got {self.prompt_len}")


Step = DecodeStep | PrefillStep
Calls = list[tuple[Product, float, float]]  # a product, its rows, how often the step makes it


@dataclass(frozen=True)
class StepTable:
    """Steps as columns of numbers, for the model of time."""

    in_features: Array  # [S, C]
    out_features: Array  # [S, C]
    rows: Array  # [S, C], of a product
    count: Array  # [S, C], of equal products
    product_bytes: Array  # [S, C], of one weight

    prefix_flops: Array  # [S], attention to prompts that samples share
    prefix_bytes: Array
    prefix_queries: Array  # query heads that read a key of a prompt together
    suffix_flops: Array  # attention of samples to what they drew themselves
    suffix_bytes: Array
    causal_flops: Array  # attention of prompts to themselves
    causal_bytes: Array
    head_dim: Array

    passes: Array  # through all layers
    prefill_passes: Array
    num_layers: Array
    row_layers: Array  # rows, through each layer
    head_layers: Array  # query heads of rows, through each layer
    segment_layers: Array  # key heads of prompts, in each layer of a decode step
    width_layers: Array  # features of rows, through each layer
    logits: Array
    num_rows: Array

    @property
    def product_flops(self) -> Array:
        """[S, C], of one product."""
        return 2 * self.rows * self.in_features * self.out_features

    @property
    def flops(self) -> Array:
        attention = self.prefix_flops + self.suffix_flops + self.causal_flops
        return np.asarray((self.count * self.product_flops).sum(1) + attention)

    @property
    def bytes(self) -> Array:
        keys = self.prefix_bytes + self.suffix_bytes + self.causal_bytes
        return np.asarray((self.count * self.product_bytes).sum(1) + keys)

    def take(self, index: NDArray[np.int64]) -> StepTable:
        return StepTable(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def tabulate(
    models: Sequence[tuple[ModelConfig, Precision]],
    steps: Sequence[Step],
    chunk_tokens: int,
    row_buckets: tuple[int, ...] = (),
) -> StepTable:
    """A model and a step for each row of the table.

    row_buckets: numbers of rows in rising order; none where steps are not padded.
    """
    rows = [
        decode_row(*model, step, row_buckets)
        if isinstance(step, DecodeStep)
        else prefill_row(*model, step, chunk_tokens)
        for model, step in zip(models, steps, strict=True)
    ]
    widest = max((len(calls) for calls, _ in rows), default=0)
    products = np.zeros((5, len(rows), widest))
    products[:2] = 1  # a product that is not there has some shape
    for i, (calls, _) in enumerate(rows):
        precision = models[i][1]
        for j, (product, num_rows, count) in enumerate(calls):
            shape = product.in_features, product.out_features
            products[:, i, j] = (*shape, num_rows, count, product.bytes(precision))
    names = [f.name for f in fields(StepTable)][5:]
    columns = {name: np.array([float(row[name]) for _, row in rows]) for name in names}
    return StepTable(*products, **columns)


def padded(num_rows: float, row_buckets: tuple[int, ...]) -> float:
    """Rows of the step that serves so many; as they are beyond the largest bucket."""
    return next((size for size in row_buckets if size >= num_rows), num_rows)


def decode_row(
    config: ModelConfig, precision: Precision, step: DecodeStep, row_buckets: tuple[int, ...]
) -> tuple[Calls, dict[str, float]]:
    n, prompts = step.num_samples, step.num_prompts
    rows = padded(n, row_buckets)
    products = metering.layer_products(config)
    calls: Calls = [(product, rows, product.count) for product in products]
    calls.append((metering.head_product(config), rows, 1))
    pair_flops = metering.attention_flops(config, 1)
    token_bytes = metering.key_value_bytes(config, 1, precision)
    return calls, {
        **other_work(config, rows, passes=1, num_logits=rows),
        "prefix_flops": pair_flops * n * step.prefix_len,
        "prefix_bytes": token_bytes * prompts * step.prefix_len,
        "prefix_queries": n / prompts * config.num_heads / config.num_kv_heads,
        "suffix_flops": pair_flops * n * step.suffix_len,
        "suffix_bytes": token_bytes * n * (step.suffix_len + 1),  # read, and one written
        "causal_flops": 0,
        "causal_bytes": 0,
        "prefill_passes": 0,
        "segment_layers": prompts * config.num_kv_heads * config.num_layers,
    }


def prefill_row(
    config: ModelConfig, precision: Precision, step: PrefillStep, chunk_tokens: int
) -> tuple[Calls, dict[str, float]]:
    P = step.prompt_len
    whole, rest = divmod(P, chunk_tokens)
    passes = [(chunk_tokens, whole)] * (whole > 0) + [(rest, 1)] * (rest > 0)
    calls: Calls = [
        (product, num_rows, count * product.count)
        for product in metering.layer_products(config)
        for num_rows, count in passes
    ]
    calls.append((metering.head_product(config), 1, 1))
    # Every pass reads the keys of all that came before it and its own, which it writes.
    read = chunk_tokens * whole * (whole + 1) // 2 + (P if rest else 0)
    return calls, {
        **other_work(config, P, passes=whole + (rest > 0), num_logits=1),
        "prefix_flops": 0,
        "prefix_bytes": 0,
        "prefix_queries": 1,
        "suffix_flops": 0,
        "suffix_bytes": 0,
        "causal_flops": metering.attention_flops(config, P * (P + 1) // 2),
        "causal_bytes": metering.key_value_bytes(config, read + P, precision),
        "prefill_passes": whole + (rest > 0),
        "segment_layers": 0,
    }


def other_work(
    config: ModelConfig, num_rows: float, passes: int, num_logits: float
) -> dict[str, float]:
    layers = config.num_layers
    return {
        "head_dim": config.head_dim,
        "passes": passes,
        "num_layers": layers,
        "row_layers": num_rows * layers,
        "head_layers": num_rows * layers * config.num_heads,
        "width_layers": num_rows * layers * config.hidden_size,
        "logits": num_logits * config.vocab_size,
        "num_rows": num_rows,
    }
