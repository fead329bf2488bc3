"""What the measured steps say: how far above the floor, and whether anything jumps. Plain data.

    floor = max(FLOP floor, byte floor)
    FLOP floor = (FLOPs of products) / (their rate) + (FLOPs of attention) / (rate of floats)
    byte floor = (weights + one prompt + every sample's own keys) / (read bandwidth)

A point is the median over the rounds of a round's best step, a rate the median over the rounds of a
round's best. From k to the next k measured a step may grow by no more than the tiles begun: jump 1
is as many whole tiles as the new rows can begin, at the seconds a row takes in the upper half of k.
A model that the processor's caches hold can go below the byte floor, which is of memory.

Units:  seconds; bytes; FLOPs and bytes per second.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any

from t2engine import metering
from t2engine.schema import ModelConfig, Precision

TILE_ROWS = 16  # no instruction set takes more rows of a product, or queries of a vector, at once
FEWEST = 4  # samples from which on the floor binds
MOST_RATIO = 1.4

Curve = Mapping[int, float]  # k to seconds


def curve(rounds: Mapping[str, list[list[float]]]) -> dict[int, float]:
    """rounds: for each k, each round's steps."""
    points = {int(k): statistics.median(map(min, seconds)) for k, seconds in rounds.items()}
    return dict(sorted(points.items()))


def rates(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}


def floors(
    config: ModelConfig,
    precision: Precision,
    prompt_len: int,
    suffix_len: int,
    num_samples: int,
    rate: Mapping[str, float],
) -> tuple[float, float]:
    """Seconds that the step's arithmetic takes at least, and its reading."""
    products = 2 * metering.matmul_params(config) * num_samples
    attention = metering.attention_flops(config, num_samples * (prompt_len + suffix_len))
    keys = prompt_len + num_samples * suffix_len
    size = metering.weight_bytes(config, precision)
    size += metering.key_value_bytes(config, keys, precision)
    flop_seconds = products / rate["product"] + attention / rate["attention"]
    return flop_seconds, size / rate["read"]


def row_seconds(steps: Curve) -> float:
    """What one more row takes: the median slope between points of the upper half of k."""
    upper = [(k, s) for k, s in steps.items() if 2 * k >= max(steps)]
    slopes = [(s - r) / (k - j) for (j, r), (k, s) in combinations(upper, 2)]
    return statistics.median(slopes) if slopes else math.nan


def jumps(steps: Curve) -> dict[tuple[int, int], float]:
    """Between neighbours: the growth of a step in units of the tiles begun."""
    tile = TILE_ROWS * row_seconds(steps)
    points = sorted(steps.items())
    return {
        (j, k): (after - before) / (tile * math.ceil((k - j) / TILE_ROWS))
        for (j, before), (k, after) in pairwise(points)
    }


def verdict(steps: Curve, floor: Mapping[int, tuple[float, float]]) -> dict[str, Any]:
    """steps and floor for the same k. What cannot be said of so few points is None."""
    ratios = {k: seconds / max(floor[k]) for k, seconds in steps.items()}
    judged = {k: ratio for k, ratio in ratios.items() if k >= FEWEST}
    worst = max(judged, key=lambda k: judged[k], default=None)
    grown = {pair: jump for pair, jump in jumps(steps).items() if not math.isnan(jump)}
    largest = max(grown, key=lambda pair: grown[pair], default=None)
    return {
        "ratio_to_floor": ratios,
        "worst_ratio": None if worst is None else judged[worst],
        "worst_ratio_at": worst,
        "row_seconds": row_seconds(steps) if grown else None,
        "largest_jump": None if largest is None else grown[largest],
        "largest_jump_from_to": None if largest is None else list(largest),
    }


def sentence(prompt_len: int, found: Mapping[str, Any]) -> str:
    parts = []
    if found["worst_ratio"] is not None:
        held = "within" if found["worst_ratio"] <= MOST_RATIO else "above"
        parts.append(
            f"at worst {found['worst_ratio']:.2f} x its floor, at k = {found['worst_ratio_at']} "
            f"({held} {MOST_RATIO})"
        )
    if found["largest_jump"] is not None:
        j, k = found["largest_jump_from_to"]
        held = "within one" if found["largest_jump"] <= 1 else "above one"
        parts.append(f"largest jump {found['largest_jump']:.2f} tiles, k = {j} to {k} ({held})")
    return f"P = {prompt_len}: " + ("; ".join(parts) or "too few points to judge")
