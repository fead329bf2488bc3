from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import merge_states
from tests.cases import MERGE_STATES_AT_SCALE


@pytest.mark.parametrize("case", MERGE_STATES_AT_SCALE, ids=str)
def test_merge_states(benchmark, case, backend, device):
    measure(benchmark, merge_states, case, backend, device)
