"""Decode attention, beside torch's over an expanded batch and a matrix product as large."""

from __future__ import annotations

import pytest
import torch

from benchmarks.measure import measure
from t2engine.ops import linear, pack_weight, shared_prefix_attention
from tests.attention_cases import SHARED_PREFIX_ATTENTION_AT_SCALE

PREFIX_ONLY = [case for case in SHARED_PREFIX_ATTENTION_AT_SCALE if case.max_suffix == 0]


@pytest.mark.parametrize("case", SHARED_PREFIX_ATTENTION_AT_SCALE, ids=str)
def test_shared_prefix_attention(benchmark, case, backend, device):
    measure(benchmark, shared_prefix_attention, case, backend, device)


def beside(benchmark, case, peer):
    """Put a peer's time, and the operation's own cost, in the group of the case."""
    inputs = case.inputs()
    benchmark.group = f"shared_prefix_attention {case}"
    benchmark.extra_info |= vars(shared_prefix_attention.cost(*inputs)) | {"backend": peer}
    return inputs


@pytest.mark.parametrize("case", PREFIX_ONLY, ids=str)
def test_torch_with_an_expanded_batch(benchmark, case):
    q, prefix_k, prefix_v, spans, *_, scale = beside(benchmark, case, "torch sdpa")
    start, stop = spans[0].tolist()
    k, v = (x[:, start:stop].expand(len(q), -1, -1, -1) for x in (prefix_k, prefix_v))
    attend = torch.nn.functional.scaled_dot_product_attention
    benchmark(lambda: attend(q[:, :, None], k, v, scale=scale, enable_gqa=True))


@pytest.mark.parametrize("case", PREFIX_ONLY, ids=str)
def test_matrix_product_of_the_same_flops(benchmark, case):
    inputs = beside(benchmark, case, "linear")
    rows, width = 256, 768
    x = torch.randn(rows, width)
    columns = shared_prefix_attention.cost(*inputs).flops // (2 * rows * width)
    weight = pack_weight(torch.randn(columns, width))
    benchmark(lambda: linear(x, weight, None, backend="cpp"))
