from __future__ import annotations

import pytest
import torch

from t2engine.ops import rms_norm, rope_append, rotary_embedding
from tests.backends import assert_close, to_float64
from tests.slab_cases import ROPE_APPEND, RopeAppendCase

K, V = 10, 11  # of the inputs


@pytest.mark.parametrize("case", ROPE_APPEND, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs, want_inputs = case.inputs(device), to_float64(case.inputs(device))
    out = rope_append(*inputs, backend=backend)
    want = rope_append.reference(*want_inputs)
    assert_close(out, want, atol=1e-5, rtol=1e-5)
    for got, stored in zip(inputs[K : V + 1], want_inputs[K : V + 1], strict=True):
        torch.testing.assert_close(got.double(), stored, atol=1e-5, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize("case", ROPE_APPEND, ids=str)
def test_the_reference_is_the_operations_one_after_another(case):
    inputs = to_float64(case.inputs())
    qkv, bias, q_norm, k_norm, cos, sin, position, time, alive, row_chunk, keys, values, eps = (
        inputs
    )
    before = keys.clone()
    out = rope_append.reference(*inputs)
    R, H_kv, G, D = case.rows, case.num_kv_heads, case.sharers, case.head_dim
    x = (qkv if bias is None else qkv + bias).view(R, (G + 2) * H_kv, D)
    q, k, v = x.split([G * H_kv, H_kv, H_kv], dim=1)
    if case.norm:
        q, k = (
            rms_norm.reference(y.reshape(-1, D), w, eps).view(y.shape)
            for y, w in ((q, q_norm), (k, k_norm))
        )
    q, k = (rotary_embedding.reference(y, cos[position], sin[position]) for y in (q, k))
    assert_close(out.transpose(0, 1).reshape(R, G * H_kv, D), q, atol=1e-12, rtol=0)
    written = torch.zeros(keys.shape[0], keys.shape[2], dtype=torch.bool)
    for row in range(R):
        if alive[row]:
            at = row_chunk[time[row] // case.slab % 3, row], time[row] % case.slab
            written[at] = True
            assert_close(keys[at[0], :, at[1]], k[row], atol=1e-12, rtol=0)
            assert_close(values[at[0], :, at[1]], v[row], atol=1e-12, rtol=0)
    assert int(written.sum()) == int(alive.sum())
    rest = ~written[:, None, :, None].expand_as(keys)
    torch.testing.assert_close(keys[rest], before[rest], equal_nan=True, atol=0, rtol=0)


def test_wrong_shapes_are_named():
    inputs = list(RopeAppendCase(3, 2, 2, 16, 16).inputs())
    for index, name in ((0, "qkv"), (6, "position"), (9, "row_chunk"), (11, "slab_v")):
        wrong = [*inputs[:index], inputs[index][..., 1:], *inputs[index + 1 :]]
        with pytest.raises(ValueError, match=f"rope_append: {name} must"):
            rope_append(*wrong)
