from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import hadamard
from tests.cases import HADAMARD_AT_SCALE


@pytest.mark.parametrize("case", HADAMARD_AT_SCALE, ids=str)
def test_hadamard(benchmark, case, backend, device):
    measure(benchmark, hadamard, case, backend, device)
