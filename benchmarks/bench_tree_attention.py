"""Decode attention over a tree of segments, and over keys of every stored type."""

from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import tree_attention
from tests.attention_cases import TREE_ATTENTION_AT_SCALE


@pytest.mark.parametrize("case", TREE_ATTENTION_AT_SCALE, ids=str)
def test_tree_attention(benchmark, case, backend, device):
    measure(benchmark, tree_attention, case, backend, device)
