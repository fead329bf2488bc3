"""Compiles every Triton kernel for sm_80 and sm_90 without a GPU; prints one JSON record a line.

Run as a program of its own: under TRITON_INTERPRET, as in the tests, nothing is compiled.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import triton
from t2engine.kernels.merge_states import TILE_ELEMENTS, merge_states_kernel
from t2engine.kernels.shared_prefix_attention import (
    SUFFIX_KEYS,
    choose_tiles,
    prefix_kernel,
    suffix_kernel,
    suffix_options,
)
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
INTEGERS = ("num_rows", "num_prompts", "prefix_size", "suffix_size", "splits")
FLOAT32 = ("state_ptr", "lse_ptr", "scale")  # whatever the dtype of the rest
INT64 = ("prefix_bounds_ptr", "row_bounds_ptr", "row_slot_ptr", "suffix_len_ptr")
INSTRUCTIONS = ("HGMMA", "HMMA", "FFMA", "LDGSTS", "LDGSTS.E.BYPASS.128", "LDG.E.128", "STL", "LDL")


def type_of(name: str, dtype: str, float32: tuple[str, ...]) -> str:
    if name in INTEGERS:
        return "i32"
    kind = "fp32" if name in float32 else "i64" if name in INT64 else dtype
    return f"*{kind}" if name.endswith("_ptr") else kind


def compile_kernel(
    kernel: Any,
    arch: int,
    dtype: str,
    constants: dict[str, Any],
    options: dict[str, int],
    float32: tuple[str, ...] = FLOAT32,
    types: dict[str, str] | None = None,  # of arguments that type_of does not know
) -> dict[str, Any]:
    """Registers, stack and instructions of a kernel whose pointers are 16-byte aligned."""
    names = kernel.arg_names
    signature = {
        name: "constexpr" if name in constants else type_of(name, dtype, float32) for name in names
    } | (types or {})
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={
            (i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n][0] == "*"
        },
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage, sass = (
            subprocess.run(
                [CUOBJDUMP, flag, file.name], check=True, capture_output=True, text=True
            ).stdout
            for flag in ("-res-usage", "-sass")
        )
    resources = {key: int(value) for key, value in re.findall(r"\b([A-Z]+):(\d+)", usage)}
    counts = {name: len(re.findall(rf"\b{re.escape(name)}\b", sass)) for name in INSTRUCTIONS}
    shown = {k: v for k, v in constants.items() if k.startswith(("HEAD_DIM", "BLOCK_M"))}
    return {
        "kernel": kernel.__name__, "arch": arch, "dtype": dtype, **shown,
        "registers": resources["REG"], "stack": resources["STACK"], "local": resources["LOCAL"],
        "shared": compiled.metadata.shared, "instructions": counts,
    }  # fmt: skip


def prefix(arch: int, dtype: str, head_dim: int, packed_rows: int) -> dict[str, Any]:
    tiles = choose_tiles(element_size(dtype), head_dim, packed_rows)
    constants = {
        **heads(head_dim, tiles.precision), "BLOCK_M": tiles.rows, "BLOCK_N": tiles.keys
    }  # fmt: skip
    options = {"num_warps": tiles.num_warps, "num_stages": tiles.num_stages}
    return compile_kernel(prefix_kernel, arch, dtype, constants, options)


def suffix(arch: int, dtype: str, head_dim: int) -> dict[str, Any]:
    precision = choose_tiles(element_size(dtype), head_dim, 1).precision
    constants = {**heads(head_dim, precision), "BLOCK_H": 16, "BLOCK_N": SUFFIX_KEYS}
    return compile_kernel(suffix_kernel, arch, dtype, constants, suffix_options(head_dim))


def merge(arch: int, dtype: str, head_dim: int) -> dict[str, Any]:
    block_d = triton.next_power_of_2(head_dim)
    constants = {
        "HEAD_DIM": head_dim, "BLOCK_D": block_d, "BLOCK_ROWS": TILE_ELEMENTS // block_d
    }  # fmt: skip
    return compile_kernel(merge_states_kernel, arch, dtype, constants, {}, float32=())


def heads(head_dim: int, precision: str) -> dict[str, Any]:
    """Seven query heads to a kv head, as in Qwen2.5-0.5B: no power of two helps."""
    return {
        "NUM_HEADS": 14, "SHARERS": 7, "HEAD_DIM": head_dim, "PRECISION": precision,
        "BLOCK_D": triton.next_power_of_2(head_dim),
    }  # fmt: skip


def element_size(dtype: str) -> int:
    return 4 if dtype == "fp32" else 2


def main() -> None:
    """Every tile of choose_tiles for sm_90; for sm_80, the head width that is tightest."""
    for arch, half, head_dims in ((90, "bf16", (64, 128, 256)), (80, "fp16", (128,))):
        for dtype in (half, "fp32"):
            for head_dim in head_dims:
                one_tile = dtype == "fp32" and head_dim > 64
                for packed_rows in (1024,) if one_tile else (16, 1024):
                    print(json.dumps(prefix(arch, dtype, head_dim, packed_rows)), flush=True)
                print(json.dumps(suffix(arch, dtype, head_dim)), flush=True)
            print(json.dumps(merge(arch, dtype, 128)), flush=True)
    print(json.dumps(prefix(90, "fp16", 80, 1024)), flush=True)


if __name__ == "__main__":
    main()
