from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import rope_append
from tests.slab_cases import ROPE_APPEND_AT_SCALE


@pytest.mark.parametrize("case", ROPE_APPEND_AT_SCALE, ids=str)
def test_rope_append(benchmark, case, backend, device):
    measure(benchmark, rope_append, case, backend, device)
