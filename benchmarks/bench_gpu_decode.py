"""shared_prefix_attention at the decode shapes of published models, in the dtypes a GPU serves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from benchmarks.measure import measure
from t2engine.ops import shared_prefix_attention
from tests.attention_cases import SharedPrefixCase
from tests.backends import map_tensors, require, why_not
from tests.cases import Inputs


@dataclass(frozen=True)
class DecodeStep(SharedPrefixCase):
    dtype: str = "float32"

    def inputs(self, device: str = "cpu") -> Inputs:
        dtype = getattr(torch, self.dtype)
        cast = map_tensors(
            super().inputs(device), lambda x: x.to(dtype) if x.is_floating_point() else x
        )
        return cast


HEADS = {  # query heads, key heads, head_dim
    "Qwen2.5-0.5B": (14, 2, 64),
    "Qwen3-0.6B": (16, 8, 128),
    "Llama-3.2-1B": (32, 8, 64),
    "Llama-3.1-8B": (32, 8, 128),
}
BATCHES = {  # samples of each prompt, and its tokens
    "one-prompt-of-64": ((64,), (2048,)),
    "one-prompt-of-1024": ((1024,), (2048,)),
    "eight-prompts-of-128": ((128,) * 8, (512,) * 8),
}
VARIANTS = [("cuda", "float32"), ("triton", "float32"), ("triton", "bfloat16")]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("model", HEADS)
@pytest.mark.parametrize(("backend_name", "dtype"), VARIANTS)
def test_decode_step(benchmark, model, batch, backend_name, dtype):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    require(backend_name, why_not(shared_prefix_attention, backend_name))
    case = DecodeStep(*BATCHES[batch], *HEADS[model], max_suffix=128, dtype=dtype)
    benchmark.extra_info["model"] = model
    measure(benchmark, shared_prefix_attention, case, backend_name, "cuda")
