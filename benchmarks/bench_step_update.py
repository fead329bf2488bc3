from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import step_update
from tests.slab_cases import STEP_UPDATE_AT_SCALE


@pytest.mark.parametrize("case", STEP_UPDATE_AT_SCALE, ids=str)
def test_step_update(benchmark, case, backend, device):
    measure(benchmark, step_update, case, backend, device)
