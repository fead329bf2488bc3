"""Storing a decode step's keys, in every type."""

from __future__ import annotations

import pytest
import torch

from t2engine.ops import empty_vectors, store_vectors

ROWS, HEAD_DIM = 64 * 4, 64  # samples x key heads


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8], ids=str)
def test_store_vectors(benchmark, dtype, backend):
    store = empty_vectors(ROWS, HEAD_DIM, dtype=dtype)
    inputs = (store, torch.randperm(ROWS), torch.randn(ROWS, HEAD_DIM))
    benchmark.group = f"store_vectors {dtype}"
    benchmark.extra_info |= vars(store_vectors.cost(*inputs)) | {"backend": backend}
    benchmark(lambda: store_vectors(*inputs, backend=backend))
