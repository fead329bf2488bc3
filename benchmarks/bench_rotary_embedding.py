from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import rotary_embedding
from tests.cases import ROTARY_EMBEDDING_AT_SCALE


@pytest.mark.parametrize("case", ROTARY_EMBEDDING_AT_SCALE, ids=str)
def test_rotary_embedding(benchmark, case, backend, device):
    measure(benchmark, rotary_embedding, case, backend, device)
