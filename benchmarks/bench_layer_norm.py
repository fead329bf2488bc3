from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import layer_norm
from tests.cases import LAYER_NORM_AT_SCALE


@pytest.mark.parametrize("case", LAYER_NORM_AT_SCALE, ids=str)
def test_layer_norm(benchmark, case, backend, device):
    measure(benchmark, layer_norm, case, backend, device)
