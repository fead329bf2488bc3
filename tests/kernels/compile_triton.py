"""Compiles every Triton kernel for sm_80 and sm_90 without a GPU; prints one JSON record a line.

Run as a program of its own: under TRITON_INTERPRET, as in the tests, nothing is compiled.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from t2engine.kernels.merge_states import TILE_ELEMENTS, merge_states_kernel
from t2engine.kernels.slab_attention import (
    block_dims,
    prefix_kernel,
    suffix_kernel,
    suffix_keys,
    suffix_options,
)
from t2engine.ops._prefix_choices import ANY, PREFIX_CHOICES, PrefixChoice, choose_prefix

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
INTEGERS = ("num_rows", "prefix_size", "ring")
FLOAT32 = ("state_ptr", "lse_ptr", "scale")  # whatever the dtype of the rest
INT32 = ("items_ptr", "row_states_ptr", "row_spans_ptr", "spans_ptr")
INT64 = ("row_chunk_ptr", "first_ptr", "last_ptr")
INSTRUCTIONS = ("HGMMA", "HMMA", "FFMA", "LDGSTS", "LDGSTS.E.BYPASS.128", "LDG.E.128", "STL", "LDL")
Job = tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]


def type_of(name: str, dtype: str, float32: tuple[str, ...]) -> str:
    if name in INTEGERS:
        return "i32"
    for kind, names in (("fp32", float32), ("i32", INT32), ("i64", INT64)):
        if name in names:
            dtype = kind
    return f"*{dtype}" if name.endswith("_ptr") else dtype


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
    shown = {k: v for k, v in constants.items() if k.startswith(("HEAD_DIM", "BLOCK_M", "BLOCK_N"))}
    return {
        "kernel": kernel.__name__, "arch": arch, "dtype": dtype, **shown,
        "registers": resources["REG"], "stack": resources["STACK"], "local": resources["LOCAL"],
        "shared": compiled.metadata.shared, "instructions": counts,
    }  # fmt: skip


def prefix(arch: int, dtype: str, head_dim: int, choice: PrefixChoice) -> dict[str, Any]:
    constants = {
        **heads(head_dim, choice.precision),
        "BLOCK_M": choice.tile_rows, "BLOCK_N": choice.tile_keys,
    }  # fmt: skip
    options = {"num_warps": choice.num_warps, "num_stages": choice.num_stages}
    return compile_kernel(prefix_kernel, arch, dtype, constants, options)


def suffix(arch: int, dtype: str, head_dim: int, precision: str) -> dict[str, Any]:
    constants = {
        **heads(head_dim, precision), "SLAB": 64, "BLOCK_H": 16,
        "BLOCK_N": suffix_keys(head_dim, element_size(dtype)),
    }  # fmt: skip
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
        "SHARERS": 7, "HEAD_DIM": head_dim, "BLOCK_D": block_dims(head_dim),
        "PRECISION": precision,
    }  # fmt: skip


def element_size(dtype: str) -> int:
    return 4 if dtype == "fp32" else 2


def prefix_jobs(arch: int, dtype: str) -> list[Job]:
    """Every choice that this architecture takes, at its widest head, and at one that is masked."""
    size = element_size(dtype)
    found: list[Job] = []
    for choice in PREFIX_CHOICES:
        width, queries = choice.max_head_dim, choice.max_queries
        if choice.backend == "triton" and takes(arch, size, choice):
            found.append((prefix, (arch, dtype, width, choice)))
            if (width, queries) == (128, ANY):
                found.append((prefix, (arch, dtype, 80, choice)))
    return found


def takes(arch: int, size: int, choice: PrefixChoice) -> bool:
    shape = (choice.max_head_dim, choice.max_queries)
    return size == choice.element_size and choose_prefix("triton", arch, size, *shape) == choice


def suffix_jobs(arch: int, dtype: str) -> list[Job]:
    """The precision is that of the prefix, whose choice goes to both kernels."""
    size = element_size(dtype)
    return [
        (suffix, (arch, dtype, width, choose_prefix("triton", arch, size, width, 1).precision))
        for width in (64, 80, 128, 256)
    ]


JOBS: list[Job] = [
    job
    for arch, half in ((90, "bf16"), (80, "fp16"))
    for dtype in (half, "fp32")
    for job in (*prefix_jobs(arch, dtype), *suffix_jobs(arch, dtype), (merge, (arch, dtype, 128)))
]
JOBS += [(suffix, (90, "bf16", 96, "ieee")), (suffix, (90, "fp16", 64, "ieee"))]


def run(job: Job) -> dict[str, Any]:
    function, arguments = job
    return function(*arguments)


def main() -> None:
    with ProcessPoolExecutor(max_workers=2) as pool:
        for record in pool.map(run, JOBS):
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
