"""Bands of a plan: a column of its table, a line under it, and JSON-able plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from t2engine.plan.bands import PlanBands

LABELS = {
    "parameters N": "N",
    "training tokens D": "D",
    "tokens per parameter D/N": "tokens_per_parameter",
    "samples per question k": "k",
}


def bands_column(bands: PlanBands, count: Callable[[float], str]) -> dict[str, str]:
    """By the labels of the plan's own column."""
    column = {label: " – ".join(map(count, getattr(bands, x))) for label, x in LABELS.items()}
    low, high = bands.pass_at_k
    return column | {"predicted pass@k": f"{low:.4g} – {high:.4g}"}


def bands_line(bands: PlanBands | None) -> str:
    if bands is None:
        return "bands: not computed; --bands draws them, which may take a while"
    return f"bands: {bands.source}"


def bands_document(bands: PlanBands | None) -> dict[str, Any] | None:
    if bands is None:
        return None
    return {name: list(x) if isinstance(x, tuple) else x for name, x in asdict(bands).items()}
