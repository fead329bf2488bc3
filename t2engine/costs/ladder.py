"""Model shapes from N by a stated rule: what stands for "a model of N parameters".

A Llama layout with tied embeddings, in hidden sizes that are multiples of 16:

    num_layers        sqrt(hidden_size) / 2, rounded, at least 2: 8 of 256, 16 of 1024, 32 of 4096
    head_dim          16 below a hidden size of 128, 32 below 256, 64 below 3072, 128 from there on
    num_kv_heads      the largest divisor of num_heads that is at most a half of it
                      (a quarter from 16 heads on)
    intermediate_size 8/3 hidden_size, to the nearest 16

Between two rungs of the ladder a cost is interpolated in ln N.

Units:  N counts all parameters, the tied embedding once.
Source: the rule passes through Llama 3's 8B (32 layers of 4096, 32 heads of 128, 8 key heads) but
        for its vocabulary and its wider MLP; it is ours between the sizes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import cache

from t2engine.metering import parameter_count
from t2engine.schema import ModelConfig

STEP = 16  # of hidden sizes
LARGEST = 16384
CONTEXT_LEN = 1 << 17
MANY_HEADS = 16
DEFAULT_VOCAB_SIZE = 8192


def head_dim_of(hidden_size: int) -> int:
    for below, head_dim in ((128, 16), (256, 32), (3072, 64)):
        if hidden_size < below:
            return head_dim
    return 128


def ladder_shape(hidden_size: int, vocab_size: int = DEFAULT_VOCAB_SIZE) -> ModelConfig:
    """The rung of this hidden size. Raises: ValueError where heads do not divide it."""
    head_dim = head_dim_of(hidden_size)
    if hidden_size < STEP or hidden_size % head_dim:
        raise ValueError(
            f"hidden_size must be a multiple of {head_dim}, the head_dim there, got {hidden_size}"
        )
    num_heads = hidden_size // head_dim
    most = max(1, num_heads // (4 if num_heads >= MANY_HEADS else 2))
    return ModelConfig(
        family="llama",
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=16 * round(8 * hidden_size / 3 / 16),
        num_layers=max(2, round(math.sqrt(hidden_size) / 2)),
        num_heads=num_heads,
        num_kv_heads=max(m for m in range(1, most + 1) if num_heads % m == 0),
        head_dim=head_dim,
        max_context_len=CONTEXT_LEN,
        norm_eps=1e-5,
        rope_theta=10_000.0,
        rotary_dim=head_dim,
        tied_embeddings=True,
    )


@cache
def ladder(vocab_size: int) -> tuple[tuple[int, ModelConfig], ...]:
    """Every rung with its N, in rising order."""
    sizes = (h for h in range(STEP, LARGEST + 1, STEP) if h % head_dim_of(h) == 0)
    shapes = [ladder_shape(hidden_size, vocab_size) for hidden_size in sizes]
    return tuple(sorted(((parameter_count(c), c) for c in shapes), key=lambda rung: rung[0]))


def rungs(N: float, vocab_size: int = DEFAULT_VOCAB_SIZE) -> tuple[ModelConfig, ModelConfig, float]:
    """The rungs on both sides of N, and N's place between them in ln N: 0 is the lower.

    Raises: ValueError for an N that the ladder does not reach.
    """
    steps = ladder(vocab_size)
    least, most = steps[0][0], steps[-1][0]
    if not least <= N <= most:
        raise ValueError(
            f"N must be from {least:,} to {most:,} parameters, the ladder's ends with a vocabulary "
            f"of {vocab_size:,}, got {N:,.0f}; give the model's own config"
        )
    above = max(1, bisect_left([n for n, _ in steps], N))
    (lower_N, lower), (upper_N, upper) = steps[above - 1], steps[above]
    return lower, upper, math.log(N / lower_N) / math.log(upper_N / lower_N)
