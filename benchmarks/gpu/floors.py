"""The least time a decode step can take on a GPU: phase by phase, the larger of two quotients.

    products   2 N bytes                                 2 N k FLOPs
    prefix     4 P H_kv D L bytes, once for all k        4 k H P D L FLOPs
    suffix     4 k S H_kv D L bytes                      4 k S H D L FLOPs

    seconds(step) = sum over phases of max(bytes / copy rate, FLOPs / GEMM rate)

with all numbers in 2 bytes, N the weights of matrix products (the LM head is one), k samples, P
prompt tokens, S own tokens so far, L layers. Sampling, norms, rotation and writing keys are free.
Attention's exponentials keep it from the GEMM rate: the prefix counts at a share of it.

Units:  rates per second, measured beside what is held against them (ceilings.py).
Source: Williams et al., Roofline, 2009, for the maximum. The shares are those with which the first
        table of floors was computed; `bound` counts them as 1, and no program runs below it.
"""

from __future__ import annotations

from dataclasses import dataclass

from t2engine import metering
from t2engine.schema import ModelConfig

ITEM_BYTES = 2
ATTENTION_SHARES = ((64, 0.42), (128, 0.55))  # largest head_dim, share of the GEMM rate


@dataclass(frozen=True)
class Ceilings:
    copy_bytes_per_second: float  # bytes read and bytes written
    gemm_flops_per_second: float

    def seconds(self, num_bytes: int, flops: int, share: float = 1.0) -> float:
        return max(
            num_bytes / self.copy_bytes_per_second, flops / (share * self.gemm_flops_per_second)
        )


@dataclass(frozen=True)
class Floor:
    """Seconds of one step."""

    products: float
    prefix: float
    suffix: float

    @property
    def seconds(self) -> float:
        return self.products + self.prefix + self.suffix


@dataclass(frozen=True)
class Step:
    """What one decode step has before it."""

    num_samples: int
    prefix_len: int
    suffix_len: int


def attention_share(head_dim: int) -> float:
    return next(
        (share for most, share in ATTENTION_SHARES if head_dim <= most), ATTENTION_SHARES[-1][1]
    )


def key_value_bytes(config: ModelConfig, num_tokens: int) -> int:
    widths = config.num_kv_heads * config.head_dim * config.num_layers
    return 2 * ITEM_BYTES * widths * num_tokens


def floor(config: ModelConfig, step: Step, ceilings: Ceilings) -> Floor:
    return parts(config, step, ceilings, attention_share(config.head_dim))


def bound(config: ModelConfig, step: Step, ceilings: Ceilings) -> Floor:
    """Attention at the GEMM rate."""
    return parts(config, step, ceilings, 1.0)


def parts(config: ModelConfig, step: Step, ceilings: Ceilings, share: float) -> Floor:
    weights, k = metering.matmul_params(config), step.num_samples
    prefix_flops = k * metering.attention_flops(config, step.prefix_len)
    suffix_flops = k * metering.attention_flops(config, step.suffix_len)
    suffix_bytes = key_value_bytes(config, k * step.suffix_len)
    return Floor(
        products=ceilings.seconds(ITEM_BYTES * weights, 2 * weights * k),
        prefix=ceilings.seconds(key_value_bytes(config, step.prefix_len), prefix_flops, share),
        suffix=ceilings.seconds(suffix_bytes, suffix_flops),
    )


def prefix_read_per_sample(config: ModelConfig, step: Step, ceilings: Ceilings) -> Floor:
    """The floor of an engine that reads every sample's prefix from device memory."""
    shared = floor(config, step, ceilings)
    alone = key_value_bytes(config, step.num_samples * step.prefix_len)
    seconds = max(shared.prefix, alone / ceilings.copy_bytes_per_second)
    return Floor(shared.products, seconds, shared.suffix)


def run_seconds(
    config: ModelConfig, num_samples: int, prefix_len: int, new_tokens: int, ceilings: Ceilings
) -> float:
    """All decode steps of samples of new_tokens each; the first token comes from the prompt."""
    steps = (Step(num_samples, prefix_len, own) for own in range(1, new_tokens))
    return sum(floor(config, step, ceilings).seconds for step in steps)


def attention_floor(
    num_samples: int,
    prefix_len: int,
    suffix_len: int,
    heads: tuple[int, int, int],
    ceilings: Ceilings,
) -> float:
    """One layer's attention, as slab_attention has it; heads are (H_kv, G, D)."""
    H_kv, G, D = heads
    wide = 2 * ITEM_BYTES * H_kv * D  # bytes of a token's keys and values
    pair = 4 * H_kv * G * D
    own = num_samples * suffix_len
    prefix_flops = pair * num_samples * prefix_len
    return ceilings.seconds(wide * prefix_len, prefix_flops, attention_share(D)) + ceilings.seconds(
        wide * own, pair * own
    )
