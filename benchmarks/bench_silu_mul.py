from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import silu_mul
from tests.cases import SILU_MUL_AT_SCALE


@pytest.mark.parametrize("case", SILU_MUL_AT_SCALE, ids=str)
def test_silu_mul(benchmark, case, backend, device):
    measure(benchmark, silu_mul, case, backend, device)
