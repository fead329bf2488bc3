"""The Triton kernels of a decode step as compiled for sm_80 and sm_90; no GPU is needed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernels.test_triton_compile import records_of, select

KERNELS = {
    "rms_norm_kernel",
    "silu_mul_kernel",
    "philox_uniform_kernel",
    "rope_append_kernel",
    "sample_tokens_kernel",
    "step_update_kernel",
    "linear_kernel",
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return records_of("compile_triton_steps.py", tmp_path_factory.mktemp("triton"))


def test_every_kernel_compiles_for_both_architectures_and_every_dtype(compiled):
    for arch in (80, 90):
        for dtype in ("fp16", "bf16", "fp32"):
            assert {r["kernel"] for r in select(compiled, arch=arch, dtype=dtype)} == KERNELS


def test_nothing_spills(compiled):
    for record in compiled:
        code = record["instructions"]
        assert (record["stack"], record["local"], code["STL"], code["LDL"]) == (0, 0, 0, 0), record


def test_shared_memory_fits_the_architecture(compiled):
    """Source of the limits: CUDA programming guide, table of compute capabilities."""
    for record in compiled:
        assert record["shared"] <= {80: 163, 90: 227}[record["arch"]] * 1024, record


def test_long_rows_are_read_16_bytes_at_a_time(compiled):
    for kernel in ("rms_norm_kernel", "silu_mul_kernel", "rope_append_kernel"):
        for record in select(compiled, kernel=kernel):
            narrow = record.get("HEAD_DIM", 128) < 128
            assert record["instructions"]["LDG.E.128"] >= 2 or narrow, record
    for record in select(compiled, kernel="step_update_kernel"):
        assert record["instructions"]["LDG.E.128"] >= 1, record
    for record in select(compiled, kernel="linear_kernel", DEPTH=896):
        code = record["instructions"]
        assert code["LDGSTS"] == code["LDGSTS.E.BYPASS.128"] > 0, record
    for record in select(compiled, kernel="sample_tokens_kernel", VOCAB=151936):
        code = record["instructions"]
        assert code["LDGSTS"] == code["LDGSTS.E.BYPASS.128"] > 0, record


def test_linear_uses_tensor_cores(compiled):
    """wgmma on Hopper, mma before it; float32 goes in parts of tf32, by either."""
    for record in select(compiled, kernel="linear_kernel"):
        code = record["instructions"]
        if record["dtype"] == "fp32":
            assert code["HGMMA"] + code["HMMA"] > 0, record
        else:
            assert code["HGMMA" if record["arch"] == 90 else "HMMA"] > 0, record
            assert code["HMMA" if record["arch"] == 90 else "HGMMA"] == 0, record
