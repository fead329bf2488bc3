"""Triton kernels as compiled for sm_80 and sm_90: no GPU is needed to read the machine code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from t2engine.ops._prefix_choices import PREFIX_CHOICES
from tests.backends import require

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return records_of("compile_triton.py", tmp_path_factory.mktemp("triton"))


def records_of(program: str, cache: Path) -> list[dict[str, Any]]:
    """One record per kernel, of one process outside Triton's interpreter and without its cache."""
    if not can_compile():
        require("triton", "triton cannot be imported, or comes without its compiler tools")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {
        "TRITON_CACHE_DIR": str(cache),
        "TRITON_DEFAULT_FP_FUSION": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(program))],
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
    assert select(compiled, arch=90, dtype="fp16")


def test_every_choice_of_a_prefix_kernel_is_compiled(compiled):
    """A row that no architecture can reach would never be compiled, nor ever run."""
    tiles = {
        (r["HEAD_DIM"], r["BLOCK_M"], r["BLOCK_N"], 4 if r["dtype"] == "fp32" else 2)
        for r in select(compiled, kernel="prefix_kernel")
    }
    for choice in PREFIX_CHOICES:
        cut = (choice.max_head_dim, choice.tile_rows, choice.tile_keys, choice.element_size)
        assert choice.backend != "triton" or cut in tiles, choice


def test_nothing_spills(compiled):
    """But one word, outside the loops, in triton 3.6 where the suffix kernel masks dimensions."""
    for record in compiled:
        code = record["instructions"]
        masked = record["kernel"] == "suffix_kernel" and record["HEAD_DIM"] in (80, 96)
        words = int(masked and metadata.version("triton").startswith("3.6."))
        assert max(code["STL"], code["LDL"]) <= words, record
        assert (record["stack"] <= 8 * words, record["local"]) == (True, 0), record


def test_shared_memory_fits_the_architecture(compiled):
    """What is chosen from 8.0 on also runs on 8.6, 8.9 and 12.0, which have least.

    Source: CUDA programming guide, table of compute capabilities.
    """
    for record in compiled:
        assert record["shared"] <= {80: 99, 90: 227}[record["arch"]] * 1024, record


def test_prefix_kernel_uses_tensor_cores(compiled):
    """wgmma on Hopper where the tile has its 64 rows, mma elsewhere; never plain multiply-adds."""
    for record in select(compiled, kernel="prefix_kernel"):
        code = record["instructions"]
        if record["dtype"] == "fp32" and record["HEAD_DIM"] > 128:
            continue  # tf32x3 needs more registers than there are
        wgmma = record["arch"] == 90 and record["BLOCK_M"] >= 64
        assert code["HGMMA" if wgmma else "HMMA"] > 0, record
        assert code["HMMA" if wgmma else "HGMMA"] == 0, record


def test_keys_and_values_are_copied_16_bytes_at_a_time(compiled):
    """In widths of whole blocks and others; what is not copied is read into registers as widely."""
    for kernel in ("prefix_kernel", "suffix_kernel"):
        for record in select(compiled, kernel=kernel):
            code = record["instructions"]
            assert code["LDGSTS"] == code["LDGSTS.E.BYPASS.128"] > 0, record
            assert code["LDG.E.128"] > 0, record
    for record in select(compiled, kernel="merge_states_kernel"):
        assert record["instructions"]["LDG.E.128"] >= 4, record
