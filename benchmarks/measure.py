"""How an operation is timed: whole calls, the device idle at both ends, the cost beside them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from t2engine.ops import Op
from tests.cases import Case


def measure(benchmark: BenchmarkFixture, op: Op, case: Case, backend: str, device: str) -> None:
    if (backend, device) == ("triton", "cpu"):
        pytest.skip("Triton's interpreter is not worth timing")
    inputs = case.inputs(device)

    def call() -> Any:
        result = op(*inputs, backend=backend)
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    benchmark.group = f"{op.name} {case}"
    benchmark.extra_info |= vars(op.cost(*inputs)) | {"backend": backend}
    benchmark(call)
