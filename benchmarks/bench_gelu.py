from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import gelu
from tests.cases import GELU_AT_SCALE


@pytest.mark.parametrize("case", GELU_AT_SCALE, ids=str)
def test_gelu(benchmark, case, backend, device):
    measure(benchmark, gelu, case, backend, device)
