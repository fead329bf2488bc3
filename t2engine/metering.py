"""What the engine executed, priced in exact integers: matrix FLOPs and bytes, sample by sample.

Two FLOPs a multiply-add; only matrix products count (projections, attention, logits), as in torch's
FLOP counter. A token that attends to c keys costs

    2 (layer parameters) + 4 H D c L, and 2 V hidden_size more where its logits are computed.

Bytes are what a step must move: the weights once for all its rows, the keys and values it reads,
and those it writes. A read that several rows share is divided among them to the last byte, so sums
over samples are exact. Logical bytes charge every sample with its prompt's whole prefix; physical
bytes with its part of the one read. A step of training is priced by the same rule.

Units:  FLOPs and bytes are int; seconds are measured by the caller and divided like shared reads.
Source: DESIGN "what is counted"; Hoffmann et al., arXiv:2203.15556, appendix F, for the formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2engine.schema import FLOAT32, ModelConfig, Precision, SampleCost

Ints = NDArray[np.int64]
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
SCALE_BYTES = 4  # of an output feature of an int8 weight, and of a vector of an int8 cache


@dataclass(frozen=True)
class Product:
    """A weight [out_features, in_features] that multiplies every row, in `count` layers."""

    in_features: int
    out_features: int
    count: int

    @property
    def params(self) -> int:
        return self.in_features * self.out_features

    def bytes(self, precision: Precision) -> int:
        """Of one such weight, as it is stored."""
        scales = self.out_features * SCALE_BYTES if precision.weights == "int8" else 0
        return self.params * ITEM_BYTES[precision.weights] + scales


def layer_products(config: ModelConfig) -> tuple[Product, ...]:
    """Queries with keys and values, the attention's output, up (with the gate), down."""
    query_width = config.num_heads * config.head_dim
    key_width = config.num_kv_heads * config.head_dim
    up_width = config.intermediate_size * (2 if config.gated_mlp else 1)
    hidden = config.hidden_size
    shapes = (
        (hidden, query_width + 2 * key_width),
        (query_width, hidden),
        (hidden, up_width),
        (config.intermediate_size, hidden),
    )
    return tuple(Product(*shape, config.num_layers) for shape in shapes)


def head_product(config: ModelConfig) -> Product:
    return Product(config.hidden_size, config.vocab_size, 1)


def layer_params(config: ModelConfig) -> int:
    """Weights of one layer's matrix products: what a token is multiplied with."""
    return sum(product.params for product in layer_products(config))


def head_params(config: ModelConfig) -> int:
    return head_product(config).params


def matmul_params(config: ModelConfig) -> int:
    """All weights that multiply a decoded token, the output projection included."""
    return config.num_layers * layer_params(config) + head_params(config)


def parameter_count(config: ModelConfig) -> int:
    """All parameters, biases and norms included, the embedding once where it is tied."""
    biases = 0
    if config.qkv_bias:
        biases += (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
    if config.output_bias:
        biases += config.hidden_size
    if config.mlp_bias:
        biases += config.intermediate_size * (2 if config.gated_mlp else 1) + config.hidden_size
    norm = config.hidden_size * (2 if config.norm == "layer" else 1)
    layer = layer_params(config) + biases + 2 * norm
    if config.qk_norm:
        layer += 2 * config.head_dim
    tables = 1 if config.tied_embeddings else 2
    return config.num_layers * layer + norm + tables * head_params(config)


def attention_flops(config: ModelConfig, pairs: int) -> int:
    """Scores and weighted values over (query, key) pairs, in all heads and layers."""
    return 4 * config.num_heads * config.head_dim * config.num_layers * pairs


def prefill_flops(config: ModelConfig, prompt_len: int) -> int:
    """A causal pass over the prompt (token t attends to t + 1 keys), logits at its end only."""
    pairs = prompt_len * (prompt_len + 1) // 2
    layers = 2 * config.num_layers * layer_params(config) * prompt_len
    return layers + attention_flops(config, pairs) + 2 * head_params(config)


def decode_flops(config: ModelConfig, context_len: int) -> int:
    """One token that attends to context_len keys, itself included, and its logits."""
    return 2 * matmul_params(config) + attention_flops(config, context_len)


def key_value_bytes(config: ModelConfig, num_tokens: int, precision: Precision = FLOAT32) -> int:
    """Keys and values of all layers for num_tokens tokens, as they are stored."""
    vector = config.head_dim * ITEM_BYTES[precision.cache]
    if precision.cache == "int8":
        vector += SCALE_BYTES
    return 2 * config.num_kv_heads * config.num_layers * num_tokens * vector


def weight_bytes(config: ModelConfig, precision: Precision = FLOAT32) -> int:
    """What a step reads of the weights of its matrix products."""
    products = (*layer_products(config), head_product(config))
    return sum(product.count * product.bytes(precision) for product in products)


def prefill_bytes(config: ModelConfig, prompt_len: int, precision: Precision = FLOAT32) -> int:
    """Weights once, and the prompt's keys and values written once and read once."""
    keys = key_value_bytes(config, prompt_len, precision)
    return weight_bytes(config, precision) + 2 * keys


def training_flops(config: ModelConfig, batch_size: int, sequence_len: int) -> int:
    """One optimiser step: a causal pass over every row with the logits of every token, and twice
    as much again backward, a product's gradient being two products of its size."""
    pairs = sequence_len * (sequence_len + 1) // 2
    row = 2 * matmul_params(config) * sequence_len + attention_flops(config, pairs)
    return 3 * batch_size * row


def training_bytes(config: ModelConfig) -> int:
    """What one step of AdamW moves of its parameters, all in float32: ten passes over them.

    The weights are read forward, backward and by the optimiser, which writes them (4); gradients
    are written and read (2); each of two moments is read and written (4).
    """
    return 10 * ITEM_BYTES["float32"] * parameter_count(config)


def split(total: int, parts: int) -> Ints:
    """total as `parts` integers that sum to it and differ by at most one."""
    position = np.arange(parts + 1, dtype=object)  # exact however large the total
    return np.diff(total * position // parts).astype(np.int64)


class Meter:
    """Adds up what each sample of one call cost. A sample is named by an integer handle."""

    def __init__(
        self, config: ModelConfig, num_samples: int, precision: Precision = FLOAT32
    ) -> None:
        self.config = config
        self.precision = precision
        self.decode_flops = np.zeros(num_samples, np.int64)
        self.waste_flops = np.zeros(num_samples, np.int64)
        self.logical_bytes = np.zeros(num_samples, np.int64)
        self.physical_bytes = np.zeros(num_samples, np.int64)
        self.decode_seconds = np.zeros(num_samples)
        self.prefill_flops = np.zeros(num_samples, np.int64)
        self.prefill_seconds = np.zeros(num_samples)

    def prompt(self, samples: Ints) -> None:
        """What a prompt costs these samples whatever its length: the weights, and its logits."""
        self.share_prefill(samples, 2 * head_params(self.config), self.weight_bytes())

    def prefill(self, samples: Ints, start: int, stop: int, seconds: float) -> None:
        """Tokens start to stop of a prompt were computed for these samples; they share the cost."""
        pairs = stop * (stop + 1) // 2 - start * (start + 1) // 2
        flops = 2 * self.config.num_layers * layer_params(self.config) * (stop - start)
        flops += attention_flops(self.config, pairs)
        keys = self.key_value_bytes(stop - start) + self.key_value_bytes(stop)
        self.share_prefill(samples, flops, keys)
        self.prefill_seconds[samples] += seconds / len(samples)

    def share_prefill(self, samples: Ints, flops: int, size: int) -> None:
        parts = len(samples)
        self.prefill_flops[samples] += split(flops, parts)
        shared = split(size, parts)
        self.logical_bytes[samples] += shared
        self.physical_bytes[samples] += shared

    def key_value_bytes(self, num_tokens: int) -> int:
        return key_value_bytes(self.config, num_tokens, self.precision)

    def weight_bytes(self) -> int:
        return weight_bytes(self.config, self.precision)

    def decode(
        self,
        samples: Ints,
        segment_len: Ints,
        segment_rows: Ints,
        suffix_len: Ints,
        num_steps: int,
        seconds: float,
        *,
        alive_steps: Ints | None = None,
        padded_rows: int = 0,
    ) -> None:
        """The same rows were decoded num_steps times.

        samples [R] in row order; segments of prompts, segment_len [M] keys each, are read once a
        step for rows segment_rows [M, 2] (first, last + 1); row r attended to suffix_len[r] keys of
        its own in the first of the steps, one more in each next.

        alive_steps [R]: after so many steps a row's sample had ended, and the rest was waste; None
        says that none had. A row whose sample is -1 is nobody's, and padded_rows went through the
        layers as well: the samples that were there share what these cost.
        """
        if num_steps == 0:
            return
        owned = samples >= 0
        owners = samples[owned]

        def charge(column: Ints, by_row: Ints) -> None:
            column[owners] += by_row[owned] + split(int(by_row[~owned].sum()), len(owners))

        alive = np.full(len(samples), num_steps) if alive_steps is None else alive_steps
        row_prefix = np.zeros(len(samples), np.int64)
        key_bytes = self.key_value_bytes(1)
        prefix_bytes = np.zeros(len(samples), np.int64)  # each row's part of what a step reads
        for length, (first, end) in zip(segment_len.tolist(), segment_rows.tolist(), strict=True):
            row_prefix[first:end] += length
            prefix_bytes[first:end] += split(key_bytes * length, end - first)
        own_keys = alive * suffix_len + alive * (alive - 1) // 2  # [R], all steps
        keys = own_keys + alive * row_prefix
        key_flops = attention_flops(self.config, 1)
        fixed = 2 * matmul_params(self.config)
        charge(self.decode_flops, alive * fixed + key_flops * keys)
        masked = (num_steps - alive) * (fixed + key_flops * row_prefix)
        padded = split(padded_rows * num_steps * fixed, len(samples))
        charge(self.waste_flops, masked + padded)
        weights = num_steps * split(self.weight_bytes(), len(samples))
        own = weights + key_bytes * (own_keys + alive)  # read, and one written a step
        charge(self.logical_bytes, own + key_bytes * alive * row_prefix)
        charge(self.physical_bytes, own + num_steps * prefix_bytes)
        self.decode_seconds[owners] += seconds / len(owners)

    def cost(self, sample: int) -> SampleCost:
        return SampleCost(
            prefill_flops=int(self.prefill_flops[sample]),
            decode_flops=int(self.decode_flops[sample]),
            waste_flops=int(self.waste_flops[sample]),
            logical_bytes=int(self.logical_bytes[sample]),
            physical_bytes=int(self.physical_bytes[sample]),
            prefill_seconds=float(self.prefill_seconds[sample]),
            decode_seconds=float(self.decode_seconds[sample]),
        )


def total(costs: list[SampleCost]) -> SampleCost:
    """The sum over samples; joules only when every sample has them."""
    joules = [cost.joules for cost in costs]
    measured = [value for value in joules if value is not None]
    return SampleCost(
        prefill_flops=sum(cost.prefill_flops for cost in costs),
        decode_flops=sum(cost.decode_flops for cost in costs),
        waste_flops=sum(cost.waste_flops for cost in costs),
        logical_bytes=sum(cost.logical_bytes for cost in costs),
        physical_bytes=sum(cost.physical_bytes for cost in costs),
        prefill_seconds=sum(cost.prefill_seconds for cost in costs),
        decode_seconds=sum(cost.decode_seconds for cost in costs),
        joules=sum(measured) if measured and len(measured) == len(joules) else None,
    )
