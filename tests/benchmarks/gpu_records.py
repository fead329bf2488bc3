"""Lines as the GPU benchmarks write them, for the tests of what is made of them."""

from __future__ import annotations

from typing import Any

Line = dict[str, Any]


def ceilings() -> Line:
    return {
        "kind": "ceilings",
        "gpu": "NVIDIA H200",
        "torch": "2.11.0",
        "triton": "3.6.0",
        "cuda": "13.0",
        "date": "2026-01-01 00:00:00",
        "commit": "0123456789abcdef",
        "copy_bytes_per_second": 4.3e12,
        "gemm_flops_per_second": 790e12,
    }


def variant(seconds: float, error: float = 1e-3) -> Line:
    return {"seconds": seconds, "relative_error": error, "plan_seconds": 1e-3, "l2_times": 3.0}


def attention(seconds: dict[str, float], prefix_len: int = 2048, **more: Any) -> Line:
    return {
        "kind": "attention",
        "model": "Qwen3-0.6B",
        "num_samples": 64,
        "prefix_len": prefix_len,
        "suffix_len": 128,
        "floor_seconds": 10e-6,
        "torch_error": 1e-3,
        "variants": {name: variant(value) for name, value in seconds.items()},
        "failed": {},
        **more,
    }


def prefix(rate: float, model: str = "Qwen3-0.6B", backend: str = "triton", **more: Any) -> Line:
    return {
        "kind": "prefix",
        "model": model,
        "num_samples": 1024,
        "prefix_len": 2048,
        "backend": backend,
        "variant": f"t2 {backend}",
        "chosen": "dot 64x64 w8 s2",
        "seconds": 30e-6,
        "flops_per_second": rate,
        **more,
    }


def suffix(share: float) -> Line:
    return {
        "kind": "suffix",
        "model": "Qwen3-0.6B",
        "num_samples": 1024,
        "prefix_len": 128,
        "suffix_len": 64,
        "backend": "cuda",
        "seconds": 100e-6,
        "bytes_per_second": share * 4.3e12,
        "share_of_copy": share,
    }


def decode(rate: float, engine: str = "t2", **more: Any) -> Line:
    return {
        "kind": "decode",
        "engine": engine,
        "model": "5M",
        "num_samples": 4096,
        "measured_samples": 4096,
        "prefix_len": 512,
        "new_tokens": 128,
        "tokens_per_second": rate,
        "decode_tokens_per_second": 2 * rate,
        "decode_seconds": 0.2,
        "floor_seconds": 0.05,
        "host_busy": 0.05,
        **more,
    }


def greedy(agreement: float) -> Line:
    return {
        "kind": "greedy",
        "prompts": 400,
        "steps": 19200,
        "agreement": agreement,
        "largest_lead": 1e-5,
        "without_lead": 0,
        "differences": [{}],
    }


def tiles(tile: list[int], seconds: float) -> Line:
    return {
        "kind": "tiles",
        "model": "Qwen3-0.6B",
        "num_samples": 64,
        "prefix_len": 2048,
        "tiles": tile,
        "whole_seconds": seconds,
    }


def step_op() -> Line:
    cuda = {"seconds": 5e-6, "bytes_per_second": 1e12, "share_of_copy": 0.25}
    return {
        "kind": "step_op",
        "op": "rms_norm",
        "model": "5M",
        "width": 256,
        "ways": {"cuda": cuda},
        "failed_ways": {"triton": "wrong: relative error 1.00e+00"},
    }
