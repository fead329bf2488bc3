"""The cosines and sines by which rotary embeddings turn queries and keys.

    inv_freq[j] = theta^(-2 j / rotary_dim)          angle[p, j] = p inv_freq[j]

With `llama3` scaling a wavelength w = 2 pi / inv_freq keeps its frequency below
original / high_freq_factor, has it divided by `factor` above original / low_freq_factor, and a
linear mixture of the two between:

    s = (original / w - low) / (high - low)
    inv_freq' = (1 - s) inv_freq / factor + s inv_freq

All in float32, step by step as the models were trained: at position 100,000 a float64 angle would
differ from theirs by several thousandths of a radian.

Shapes: cos, sin [num_positions, rotary_dim / 2].
Source: RoFormer, arXiv:2104.09864, section 3.4.2; Llama 3.1's reference code, `apply_scaling`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from t2engine.schema import ModelConfig, RopeScaling


def rotary_table(config: ModelConfig, num_positions: int) -> tuple[Tensor, Tensor]:
    """Rows for positions 0 to num_positions - 1."""
    return rotary_rows(torch.arange(num_positions), inverse_frequencies(config))


def rotary_rows(positions: Tensor, inv_freq: Tensor) -> tuple[Tensor, Tensor]:
    angles = positions.float()[:, None] * inv_freq  # [num_positions, rotary_dim / 2]
    return angles.cos(), angles.sin()


def inverse_frequencies(config: ModelConfig) -> Tensor:
    exponents = torch.arange(0, config.rotary_dim, 2, dtype=torch.float32) / config.rotary_dim
    inv_freq = 1.0 / config.rope_theta**exponents
    return inv_freq if config.rope_scaling is None else stretch(inv_freq, config.rope_scaling)


def stretch(inv_freq: Tensor, scaling: RopeScaling) -> Tensor:
    wavelength = 2 * math.pi / inv_freq
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    share = (scaling.original_context_len / wavelength - low) / (high - low)
    mixed = (1 - share) * inv_freq / scaling.factor + share * inv_freq
    is_long = wavelength > scaling.original_context_len / low
    is_short = wavelength < scaling.original_context_len / high
    return torch.where(is_long, inv_freq / scaling.factor, torch.where(is_short, inv_freq, mixed))
