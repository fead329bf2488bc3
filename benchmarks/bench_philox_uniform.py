from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import philox_uniform
from tests.cases import PHILOX_UNIFORM_AT_SCALE


@pytest.mark.parametrize("case", PHILOX_UNIFORM_AT_SCALE, ids=str)
def test_philox_uniform(benchmark, case, backend, device):
    measure(benchmark, philox_uniform, case, backend, device)
