from __future__ import annotations

import pytest

from benchmarks.measure import measure
from t2engine.ops import sample_tokens
from tests.cases import SAMPLE_TOKENS_AT_SCALE


@pytest.mark.parametrize("case", SAMPLE_TOKENS_AT_SCALE, ids=str)
def test_sample_tokens(benchmark, case, backend, device):
    measure(benchmark, sample_tokens, case, backend, device)
