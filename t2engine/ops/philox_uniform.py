"""One 53-bit uniform per row, a pure function of (seed, prompt, sample, step).

Philox4x32-10 with key = seed (low and high 32 bits) and counter = (step, sample, prompt low,
prompt high) gives four words; the first two make the uniform:

    uniform = (word0 >> 5) 2^-27 + (word1 >> 6) 2^-53, in [0, 1)

Different seeds are different keys, so they share no stream.

Shapes: seed, prompt, sample, step [R] (int64; the bits of unsigned numbers); out [R] (float64).
Raises: ValueError when a shape disagrees with seed.
Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost

WORD = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # Salmon et al., table 2
WEYL = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, as 32-bit fractions


def check(seed: Tensor, prompt: Tensor, sample: Tensor, step: Tensor) -> None:
    expect_rank("philox_uniform", seed=(seed, 1))
    R = seed.shape[0]
    expect_shape("philox_uniform", prompt=(prompt, [R]), sample=(sample, [R]), step=(step, [R]))


def cost(seed: Tensor, *_: Tensor) -> Cost:
    return Cost(flops=0, bytes=8 * 5 * seed.numel())


def philox4x32_10(
    counter: tuple[int, int, int, int], key: tuple[int, int]
) -> tuple[int, int, int, int]:
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> 32) ^ c1 ^ k0,
            product1 & WORD,
            (product0 >> 32) ^ c3 ^ k1,
            product0 & WORD,
        )
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3


def reference(seed: Tensor, prompt: Tensor, sample: Tensor, step: Tensor) -> Tensor:
    columns = (column.tolist() for column in (seed, prompt, sample, step))
    uniforms = []
    for s, p, i, t in zip(*columns, strict=True):
        counter = (t & WORD, i & WORD, p & WORD, (p >> 32) & WORD)
        words = philox4x32_10(counter, (s & WORD, (s >> 32) & WORD))
        uniforms.append((words[0] >> 5) * 2.0**-27 + (words[1] >> 6) * 2.0**-53)
    return torch.tensor(uniforms, dtype=torch.float64, device=seed.device)


def outputs(seed: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
    return (torch.empty(seed.shape[0], dtype=torch.float64, device=seed.device),)


philox_uniform = Op(
    name="philox_uniform",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={
        "cpp": "t2engine._C:philox_uniform_cpu",
        "cuda": "t2engine._C:philox_uniform_cuda",
        "triton": "t2engine.kernels.philox_uniform:philox_uniform",
    },
)
