"""Triton kernels as compiled for sm_80 and sm_90: no GPU is needed to read the machine code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.backends import require

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One record per kernel, of one process outside Triton's interpreter and without its cache."""
    if not can_compile():
        require("triton", "triton cannot be imported, or comes without its compiler tools")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {
        "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton")),
        "TRITON_DEFAULT_FP_FUSION": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("compile_triton.py"))],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def can_compile() -> bool:
    """triton's wheel brings ptxas and cuobjdump along; a build from source may not."""
    try:
        import triton
    except ImportError:
        return False
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    return all((tools / name).is_file() for name in ("ptxas", "cuobjdump"))


def select(records: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    found = [r for r in records if all(r[key] == value for key, value in wanted.items())]
    assert found, wanted
    return found


def test_every_kernel_compiles_for_both_architectures_and_every_dtype(compiled):
    kernels = {"prefix_kernel", "suffix_kernel", "merge_states_kernel"}
    for arch, half in ((90, "bf16"), (80, "fp16")):
        for dtype in (half, "fp32"):
            assert {r["kernel"] for r in select(compiled, arch=arch, dtype=dtype)} == kernels
    assert select(compiled, arch=90, dtype="fp16", HEAD_DIM=80)


def test_nothing_spills(compiled):
    for record in compiled:
        code = record["instructions"]
        assert (record["stack"], record["local"], code["STL"], code["LDL"]) == (0, 0, 0, 0), record


def test_shared_memory_fits_the_architecture(compiled):
    """Source of the limits: CUDA programming guide, table of compute capabilities."""
    for record in compiled:
        assert record["shared"] <= {80: 163, 90: 227}[record["arch"]] * 1024, record


def test_prefix_kernel_uses_tensor_cores(compiled):
    """wgmma on Hopper where the tile has its 64 rows, mma elsewhere; never plain multiply-adds."""
    for record in select(compiled, kernel="prefix_kernel"):
        code = record["instructions"]
        if record["dtype"] == "fp32" and record["HEAD_DIM"] > 128:
            continue  # tf32x3 needs more registers than there are
        wgmma = record["arch"] == 90 and record["BLOCK_M"] == 64
        assert code["HGMMA" if wgmma else "HMMA"] > 0, record
        assert code["HMMA" if wgmma else "HGMMA"] == 0, record


def test_keys_and_values_are_copied_16_bytes_at_a_time(compiled):
    for kernel in ("prefix_kernel", "suffix_kernel"):
        for record in select(compiled, kernel=kernel):
            code = record["instructions"]
            assert code["LDGSTS"] == code["LDGSTS.E.BYPASS.128"] > 0, record
    for record in select(compiled, kernel="merge_states_kernel"):
        assert record["instructions"]["LDG.E.128"] >= 4, record
