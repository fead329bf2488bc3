from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import linear
from tests.cases import LINEAR_AT_SCALE


@pytest.mark.parametrize("case", LINEAR_AT_SCALE, ids=str)
def test_linear(benchmark, case, backend, device):
    if backend == "triton":
        pytest.skip("triton takes plain weights, and these are packed")
    measure(benchmark, linear, case, backend, device)
