"""Which backends run here, and how the tests of operations call and compare them."""

from __future__ import annotations

import os
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from t2engine.ops import OPS, Op, PackedWeight, QuantizedVectors
from t2engine.ops._op import BackendUnavailableError


def op_of(module_name: str) -> Op:
    """The operation that tests/ops/test_<name>.py or benchmarks/bench_<name>.py is about."""
    return OPS[module_name.rpartition(".")[2].partition("_")[2]]


def device_of(backend: str) -> str:
    """Where a backend's tensors live. Without a GPU, Triton interprets its kernels on the CPU."""
    if backend == "triton":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if backend == "cuda" else "cpu"


def why_not(op: Op, backend: str) -> str | None:
    device = device_of(backend)
    if (backend, device) != ("triton", "cpu"):
        return op.why_not(backend, device)
    try:
        op.load(backend)
    except BackendUnavailableError as error:
        return str(error)
    return None


def require(backend: str, reason: str | None) -> None:
    """Skip with the reason, or fail with it when T2_REQUIRE=torch,cpp,... lists the backend."""
    if reason is None:
        return
    if backend in os.environ.get("T2_REQUIRE", "").split(","):
        pytest.fail(f"T2_REQUIRE lists {backend}, which cannot run: {reason}")
    pytest.skip(f"{backend}: {reason}")


def map_tensors(inputs: tuple[Any, ...], function: Any) -> tuple[Any, ...]:
    """function applied to every tensor of the inputs, those inside a weight or a store too."""

    def one(x: Any) -> Any:
        if isinstance(x, PackedWeight):
            scales = None if x.scales is None else function(x.scales)
            return replace(x, panels=function(x.panels), scales=scales)
        if isinstance(x, QuantizedVectors):
            return QuantizedVectors(function(x.codes), function(x.scales))
        return function(x) if isinstance(x, Tensor) else x

    return tuple(one(x) for x in inputs)


def to_float64(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return map_tensors(inputs, lambda x: x.double() if x.is_floating_point() else x)


def run_cpu(
    native: ModuleType,
    isa: str,
    op: Op,
    inputs: tuple[Any, ...],
    num_threads: int = 1,
    outputs: tuple[Tensor, ...] | None = None,
) -> tuple[Tensor, ...]:
    """One instruction set's build of an operation, on a given number of threads."""
    outputs = op.outputs(*inputs) if outputs is None else outputs
    getattr(getattr(native, isa), f"{op.name}_cpu")(
        *outputs, *op.lower("cpp", *inputs), num_threads
    )
    return outputs


def assert_close(got: Tensor, want: Tensor, *, atol: float, rtol: float) -> None:
    """Equal in shape and, within atol + rtol |want|, in value; nan equals nothing."""
    torch.testing.assert_close(got.to(want), want, atol=atol, rtol=rtol, equal_nan=False)
