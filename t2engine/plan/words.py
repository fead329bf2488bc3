"""Counts of parameters, tokens and samples as a person reads them."""

from __future__ import annotations


def count(value: float) -> str:
    """Three digits, with a letter from a million on: 29,500 or 283M; beyond that as a power."""
    if value < 1e6:
        rounded = float(f"{value:.3g}")
        return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
    for scale, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if scale <= value < 1000 * scale:
            return f"{value / scale:.3g}{letter}"
    return f"{value:.3g}"


def times(factor: float) -> str:
    """Three digits of a factor, without a power up to a million: 0.0044, 2.98, 14,900."""
    rounded = float(f"{factor:.3g}")
    return f"{rounded:,.0f}" if 1000 <= rounded < 1e6 else f"{rounded:.3g}"
