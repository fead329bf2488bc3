"""Causal attention of prompts, beside torch's attention and a matrix product as large."""

from __future__ import annotations

import pytest
import torch

from benchmarks.measure import measure
from t2engine.ops import linear, pack_weight, prefill_attention
from tests.attention_cases import PREFILL_ATTENTION_AT_SCALE

ONE_PROMPT = [case for case in PREFILL_ATTENTION_AT_SCALE if len(case.keys) == 1]


@pytest.mark.parametrize("case", PREFILL_ATTENTION_AT_SCALE, ids=str)
def test_prefill_attention(benchmark, case, backend, device):
    measure(benchmark, prefill_attention, case, backend, device)


def beside(benchmark, case, peer):
    """Put a peer's time, and the operation's own cost, in the group of the case."""
    inputs = case.inputs()
    benchmark.group = f"prefill_attention {case}"
    benchmark.extra_info |= vars(prefill_attention.cost(*inputs)) | {"backend": peer}
    return inputs


@pytest.mark.parametrize("case", ONE_PROMPT, ids=str)
def test_torch(benchmark, case):
    q, k, v, _, spans, _, scale = beside(benchmark, case, "torch sdpa")
    start, stop = spans[0].tolist()
    q, k, v = q.transpose(0, 1)[None], k[None, :, start:stop], v[None, :, start:stop]
    attend = torch.nn.functional.scaled_dot_product_attention
    benchmark(lambda: attend(q, k, v, is_causal=True, scale=scale, enable_gqa=True))


@pytest.mark.parametrize("case", ONE_PROMPT, ids=str)
def test_matrix_product_of_the_same_flops(benchmark, case):
    inputs = beside(benchmark, case, "linear")
    rows, width = 256, 768
    x = torch.randn(rows, width)
    columns = prefill_attention.cost(*inputs).flops // (2 * rows * width)
    weight = pack_weight(torch.randn(columns, width))
    benchmark(lambda: linear(x, weight, None, backend="cpp"))
