from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import rms_norm
from tests.cases import RMS_NORM_AT_SCALE


@pytest.mark.parametrize("case", RMS_NORM_AT_SCALE, ids=str)
def test_rms_norm(benchmark, case, backend, device):
    measure(benchmark, rms_norm, case, backend, device)
