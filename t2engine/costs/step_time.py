"""Seconds of a step: a smooth maximum of arithmetic and reading for each part, and overheads.

    seconds  = sum over products       smoothmax(FLOPs / F(rows, widths), bytes / B)
             + sum over attentions     smoothmax(FLOPs / A + e pairs, bytes / B)
             + c_0 passes + c_1 layers + c_2 rows + c_3 heads + c_4 segments + c_5 features
             + c_6 logits

    smoothmax(a, b) = (a^p + b^p)^(1/p)
    F = peak g(rows) K/(K + K_half) N/(N + N_half)      of a product [rows, K] x [K, N]

Attention to a shared prompt takes (1 + q_half / q) times its arithmetic where q query heads read a
key together.
ln B slides from the caches' bandwidth to memory's as a pass reads more than the caches hold

g, at most about 1, goes through its values at KNOTS so that ln(rows / g) is a monotone cubic in ln
rows: a product of more rows never takes less time. Every number is positive, so a step's time rises
with all it does but for what sharing saves.

Units:  seconds; FLOPs and bytes per second; features, rows and query heads are counts.
Source: DESIGN section 5; Williams et al., Roofline, 2009, for the maximum.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np

from t2engine.costs.steps import Array, StepTable

KNOTS = (1, 4, 16, 64, 256, 1024)  # rows; g is 1 at REFERENCE_ROWS
REFERENCE_ROWS = 256
SLIDE = 1.5  # how sharply bandwidth falls where the caches end, as a power of the bytes read
MOST_EXPONENT = 12.0  # of a smooth maximum: beyond it nothing changes that can be measured


@dataclass(frozen=True)
class PositiveNumbers:
    """The numbers of a model of time: what a fit searches for, in logarithms."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < np.inf:
                raise ValueError(f"{field.name} must be above 0 and finite, got {value}")

    def vector(self) -> Array:
        return np.array(astuple(self))


@dataclass(frozen=True)
class StepRates(PositiveNumbers):
    """The numbers of the model. All positive; see the module for their meaning and units."""

    product_flops_per_second: float
    half_in_features: float
    half_out_features: float
    efficiency_1: float  # g at 1 row, and so on
    efficiency_4: float
    efficiency_16: float
    efficiency_64: float
    efficiency_1024: float
    product_exponent: float
    memory_bytes_per_second: float
    cache_bytes_per_second: float
    cache_bytes: float
    attention_flops_per_second: float
    half_queries: float
    suffix_flops_per_second: float
    causal_flops_per_second: float
    pair_seconds: float  # of one query head and one key, beside its FLOPs
    attention_exponent: float
    pass_seconds: float
    prefill_seconds: float  # of a prompt's pass, beside a decode step's
    layer_seconds: float
    row_seconds: float  # a row's draw, and what else it takes once a step
    head_seconds: float
    segment_seconds: float
    feature_seconds: float
    logit_seconds: float


@dataclass(frozen=True)
class StepParts:
    """Seconds of each part of a step [S]; they add up to the step's."""

    products: Array
    prefix: Array
    suffix: Array
    causal: Array
    overhead: Array
    logits: Array

    @property
    def seconds(self) -> Array:
        attention = self.prefix + self.suffix + self.causal
        return self.products + attention + self.overhead + self.logits


def step_parts(rates: StepRates, steps: StepTable) -> StepParts:
    bandwidth = read_bandwidth(rates, steps.bytes / np.maximum(steps.passes, 1))
    flops_per_second = product_rate(rates, steps)
    products = steps.count * smooth_maximum(
        steps.product_flops / flops_per_second,
        steps.product_bytes / bandwidth[:, None],
        rates.product_exponent,
    )
    few_queries = 1 + rates.half_queries / steps.prefix_queries

    def attention(
        flops: Array, size: Array, flops_per_second: float, slower: Array | float = 1.0
    ) -> Array:
        pairs = flops / (4 * steps.head_dim)
        arithmetic = slower * (flops / flops_per_second + pairs * rates.pair_seconds)
        return smooth_maximum(arithmetic, size / bandwidth, rates.attention_exponent)

    return StepParts(
        products=products.sum(1),
        prefix=attention(
            steps.prefix_flops, steps.prefix_bytes, rates.attention_flops_per_second, few_queries
        ),
        suffix=attention(steps.suffix_flops, steps.suffix_bytes, rates.suffix_flops_per_second),
        causal=attention(steps.causal_flops, steps.causal_bytes, rates.causal_flops_per_second),
        overhead=rates.pass_seconds * steps.passes
        + rates.prefill_seconds * steps.prefill_passes
        + rates.layer_seconds * steps.passes * steps.num_layers
        + rates.row_seconds * steps.num_rows
        + rates.head_seconds * steps.head_layers
        + rates.segment_seconds * steps.segment_layers
        + rates.feature_seconds * steps.width_layers,
        logits=rates.logit_seconds * steps.logits,
    )


def step_seconds(rates: StepRates, steps: StepTable) -> Array:
    """[S]"""
    return step_parts(rates, steps).seconds


def product_rate(rates: StepRates, steps: StepTable) -> Array:
    """FLOPs per second of every product [S, C]."""
    in_features = steps.in_features / (steps.in_features + rates.half_in_features)
    out_features = steps.out_features / (steps.out_features + rates.half_out_features)
    efficiency = row_efficiency(rates, steps.rows)
    return rates.product_flops_per_second * efficiency * in_features * out_features


def row_efficiency(rates: StepRates, rows: Array) -> Array:
    """g of the module's docstring; beyond the last knot as there."""
    at_knots = np.log(
        [
            rates.efficiency_1,
            rates.efficiency_4,
            rates.efficiency_16,
            rates.efficiency_64,
            1.0,
            rates.efficiency_1024,
        ]
    )
    knots = np.log(KNOTS)
    rises = np.maximum(np.diff(knots - at_knots), 0.0)  # of ln(rows / g): a product's time
    log_time = np.concatenate([[0.0], np.cumsum(rises)])
    reference = KNOTS.index(REFERENCE_ROWS)
    log_time += knots[reference] - log_time[reference]
    log_rows = np.log(np.clip(rows, KNOTS[0], KNOTS[-1]))
    return np.exp(log_rows - monotone_cubic(knots, log_time, log_rows))


def monotone_cubic(x: Array, y: Array, at: Array) -> Array:
    """The cubic Hermite spline through (x, y) that overshoots nowhere.

    Source: Fritsch and Butland, SIAM J. Sci. Stat. Comput. 5, 1984: weighted harmonic means of the
    neighbouring slopes; at the ends the slope there.
    """
    width = np.diff(x)
    slope = np.diff(y) / width
    before, after = slope[:-1], slope[1:]
    w_before = 2 * width[1:] + width[:-1]
    w_after = width[1:] + 2 * width[:-1]
    same = before * after > 0
    safe = np.where(same, before, 1.0), np.where(same, after, 1.0)
    mean = (w_before + w_after) / (w_before / safe[0] + w_after / safe[1])
    tangent = np.concatenate([slope[:1], np.where(same, mean, 0.0), slope[-1:]])
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(width) - 1)
    t = (at - x[i]) / width[i]
    rise = y[i] + width[i] * t * (1 - t) * ((1 - t) * tangent[i] - t * tangent[i + 1])
    return np.asarray(rise + t * t * (3 - 2 * t) * (y[i + 1] - y[i]))


def read_bandwidth(rates: StepRates, size: Array) -> Array:
    """Bytes per second of a pass that reads `size` bytes in all."""
    in_caches = 1 / (1 + (size / rates.cache_bytes) ** SLIDE)
    ratio = max(rates.cache_bytes_per_second / rates.memory_bytes_per_second, 1.0)
    return np.asarray(rates.memory_bytes_per_second * ratio**in_caches)


def smooth_maximum(a: Array, b: Array, exponent: float) -> Array:
    """(a^p + b^p)^(1/p), without overflow; 0 where both are."""
    p = min(exponent, MOST_EXPONENT)
    larger, smaller = np.maximum(a, b), np.minimum(a, b)
    ratio = np.divide(smaller, larger, out=np.zeros_like(larger), where=larger > 0)
    return np.asarray(larger * (1 + ratio**p) ** (1 / p))
