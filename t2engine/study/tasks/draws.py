"""Draws of generated tasks: evenly, or with the first of a list common and the last rare.

They use `random()` alone, whose numbers are the same in every version of Python for a given seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def draw_even(rng: random.Random, items: Sequence[Item]) -> Item:
    return items[int(rng.random() * len(items))]


def draw_zipf(rng: random.Random, items: Sequence[Item]) -> Item:
    """The m-th item with a probability log((m + 1) / m) / log(len + 1), near 1/m."""
    rank = int((len(items) + 1) ** rng.random())
    return items[min(rank, len(items)) - 1]  # a power may round up to len + 1
