"""Compiles the Triton kernels of a decode step as tests/kernels/compile_triton.py does its own."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
import triton

from t2engine.kernels.linear import TILES, linear_kernel
from t2engine.kernels.philox_uniform import BLOCK as PHILOX_BLOCK
from t2engine.kernels.philox_uniform import philox_uniform_kernel
from t2engine.kernels.rms_norm import options as rms_norm_options
from t2engine.kernels.rms_norm import rms_norm_kernel
from t2engine.kernels.rope_append import rope_append_kernel
from t2engine.kernels.sample_tokens import BLOCK as SAMPLE_BLOCK
from t2engine.kernels.sample_tokens import LEAST_BLOCKS, OPTIONS, sample_tokens_kernel
from t2engine.kernels.silu_mul import BLOCK as SILU_BLOCK
from t2engine.kernels.silu_mul import silu_mul_kernel
from t2engine.kernels.step_update import BLOCK as STEP_BLOCK
from t2engine.kernels.step_update import step_update_kernel
from tests.kernels.compile_triton import compile_kernel

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
ROPE_SHAPES = ((8, 256, 128), (7, 64, 32), (8, 80, 16), (1, 96, 0))  # G, D, h
Job = tuple[Any, dict[str, Any], dict[str, int]]


def types_of(kernel: Any, dtype: str, others: dict[str, str]) -> dict[str, str]:
    """Tensors are of the dtype where `others` does not name a type."""
    return {name: others.get(name, f"*{dtype}") for name in kernel.arg_names if name.islower()}


def named(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


OTHERS = {
    "rms_norm_kernel": named("fp32", "eps"),
    "silu_mul_kernel": {},
    "philox_uniform_kernel": named("*fp64", "out_ptr")
    | named("*i64", "seed_ptr prompt_ptr sample_ptr step_ptr")
    | named("i32", "num_rows"),
    "rope_append_kernel": named("*fp32", "cos_ptr sin_ptr")
    | named("*i64", "position_ptr time_ptr alive_ptr row_chunk_ptr")
    | named("i32", "num_rows positions ring")
    | named("fp32", "eps"),
    "sample_tokens_kernel": named("*i64", "token_ptr top_k_ptr")
    | named("*i32", "list_ptr")
    | named("*fp32", "logprob_ptr temperature_ptr top_p_ptr min_p_ptr")
    | named("*fp64", "uniform_ptr"),
    "step_update_kernel": named("*i64", "token_ptr alive_ptr drawn_ptr position_ptr first_ptr")
    | named("*i64", "last_ptr drawn_tokens_ptr max_new_tokens_ptr end_set_ptr end_bounds_ptr")
    | named("*i64", "end_ids_ptr seed_ptr prompt_ptr sample_ptr")
    | named("*fp64", "uniform_ptr")
    | named("i32", "num_rows ring"),
    "linear_kernel": named("i32", "num_rows"),
}


def compiled(arch: int, dtype: str, index: int) -> dict[str, Any]:
    """Of a job by its number: another process cannot be sent a kernel."""
    kernel, constants, options = jobs_of(arch, dtype)[index]
    types = types_of(kernel, dtype, OTHERS[kernel.__name__])
    types = {name: kind for name, kind in types.items() if name not in constants}
    return constants | compile_kernel(kernel, arch, dtype, constants, options, types=types)


def jobs_of(arch: int, dtype: str) -> list[Job]:
    def job(kernel: Any, constants: dict[str, Any], **options: int) -> Job:
        return kernel, constants, options

    some = slice(None if arch == 90 else 1)  # one shape of each kernel for sm_80
    tile = TILES[DTYPES[dtype]]
    blocks = {"BLOCK_M": tile.rows, "BLOCK_N": tile.columns, "BLOCK_K": tile.depth}
    linear_options = {"num_warps": tile.num_warps, "num_stages": tile.num_stages}
    rope = {"BIAS": True, "Q_NORM": True, "K_NORM": True, "KV_HEADS": 2, "SLAB": 64}
    width = {width: triton.next_power_of_2(width) for width in (896, 4096, 16384)}
    return [
        *(
            job(rms_norm_kernel, {"WIDTH": w, "BLOCK_W": block}, **rms_norm_options(block))
            for w, block in list(width.items())[some]
        ),
        job(silu_mul_kernel, {"WIDTH": 4864, "BLOCK_I": SILU_BLOCK}),
        job(philox_uniform_kernel, {"BLOCK_R": PHILOX_BLOCK}),
        *(
            job(
                rope_append_kernel,
                {
                    **rope, "SHARERS": sharers, "HEAD_DIM": head_dim, "HALF": half,
                    "BLOCK_G": triton.next_power_of_2(sharers),
                    "BLOCK_D": triton.next_power_of_2(head_dim),
                },
                num_warps=2,
            )
            for sharers, head_dim, half in ROPE_SHAPES[some]
        ),
        *(
            job(
                sample_tokens_kernel,
                {"VOCAB": vocab, "BLOCK": SAMPLE_BLOCK, "NUM_BLOCKS": LEAST_BLOCKS},
                **OPTIONS,
            )
            for vocab in (151936, 50257)[some]
        ),
        job(step_update_kernel, {"WIDTH": 896, "BLOCK_W": 1024}),
        job(step_update_kernel, {"WIDTH": 16384, "BLOCK_W": STEP_BLOCK}),
        *(
            job(
                linear_kernel,
                {"COLUMNS": 4864, "DEPTH": depth, "BIAS": True, **blocks},
                **linear_options,
            )
            for depth in (896, 100)[some]
        ),
    ]  # fmt: skip


def main() -> None:
    jobs = [
        (arch, dtype, index)
        for arch in (90, 80)
        for dtype in DTYPES
        for index in range(len(jobs_of(arch, dtype)))
    ]
    with ProcessPoolExecutor(2) as pool:
        for record in pool.map(compiled, *zip(*jobs, strict=True)):
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
