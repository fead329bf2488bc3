from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import slab_attention
from tests.slab_cases import SLAB_ATTENTION_AT_SCALE


@pytest.mark.parametrize("case", SLAB_ATTENTION_AT_SCALE, ids=str)
def test_slab_attention(benchmark, case, backend, device):
    measure(benchmark, slab_attention, case, backend, device)
