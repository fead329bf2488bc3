"""The least time a decode step can take: the larger of its arithmetic and its reading.

    seconds(step) = max(FLOPs / GEMM rate, bytes / read bandwidth)

with the rates measured in the same run (rates.py) and the counts of t2engine.metering. A step reads
the weights once, the prompt's keys and values once for all samples, and every sample's own. The
floor of a cell is the mean over its steps; reading and arithmetic overlap perfectly, sampling,
norms, embeddings and writing are free.

Units:  FLOPs and bytes are counted exactly; rates per second.
Source: the issue's table and how it was computed; Williams et al., Roofline, 2009, for the maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers.cells import Cell
from t2engine import metering
from t2engine.schema import ModelConfig

WEIGHT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
CACHE_BYTES = 4  # an element of the keys and values, in float32


@dataclass(frozen=True)
class Rates:
    """What the machine gave in this run."""

    gemm_flops_per_second: float
    read_bytes_per_second: float


def token_cache_bytes(config: ModelConfig) -> int:
    return 2 * config.num_kv_heads * config.head_dim * config.num_layers * CACHE_BYTES


def step_flops(config: ModelConfig, cell: Cell, step: int) -> int:
    """All samples, each with its prompt and the step + 1 keys of its own."""
    return cell.num_samples * metering.decode_flops(config, cell.prompt_len + step + 1)


def step_bytes(config: ModelConfig, cell: Cell, step: int, dtype: str) -> int:
    tokens = cell.prompt_len + cell.num_samples * (step + 1)
    weights = metering.matmul_params(config) * WEIGHT_BYTES[dtype]
    return weights + token_cache_bytes(config) * tokens


def decode_floor_seconds(config: ModelConfig, cell: Cell, rates: Rates, dtype: str) -> float:
    """Seconds of one step, the mean over the cell's steps."""
    steps = range(cell.new_tokens)
    seconds = (
        max(
            step_flops(config, cell, step) / rates.gemm_flops_per_second,
            step_bytes(config, cell, step, dtype) / rates.read_bytes_per_second,
        )
        for step in steps
    )
    return sum(seconds) / len(steps)


def decode_floor_rate(config: ModelConfig, cell: Cell, rates: Rates, dtype: str) -> float:
    """Tokens per second of all samples together."""
    return cell.num_samples / decode_floor_seconds(config, cell, rates, dtype)


def prefill_floor_seconds(config: ModelConfig, cell: Cell, rates: Rates, dtype: str) -> float:
    """One prompt, once: its layers and the logits of its last token."""
    flops = metering.prefill_flops(config, cell.prompt_len)
    weights = metering.matmul_params(config) * WEIGHT_BYTES[dtype]
    return max(flops / rates.gemm_flops_per_second, weights / rates.read_bytes_per_second)
