from __future__ import annotations

import pytest
import torch

from t2engine.ops import slab_attention, tree_attention
from tests.backends import assert_close, to_float64
from tests.slab_cases import SLAB_ATTENTION, SlabCase


@pytest.mark.parametrize("case", SLAB_ATTENTION, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = slab_attention(*inputs, backend=backend)
    want = slab_attention.reference(*to_float64(inputs))
    assert_close(out, want, atol=4e-6 * max(1.0, case.sharpness), rtol=0)


@pytest.mark.parametrize("case", SLAB_ATTENTION, ids=str)
def test_the_reference_is_tree_attention_with_own_keys_in_order(case):
    """Every row's slabs copied out into a slot of its own, its oldest key first."""
    q, k, v, spans, seen_by, slab_k, slab_v, row_chunk, first, last, scale = to_float64(
        case.inputs()
    )
    (H_kv, R, G, D), T, B = q.shape, slab_k.shape[2], row_chunk.shape[0]
    count = last + 1 - first
    slots = [torch.zeros(R, H_kv, max(1, case.max_suffix), D).double() for _ in range(2)]
    for row in range(R):
        for i in range(int(count[row])):
            step = int(first[row]) + i
            for slot, slab in zip(slots, (slab_k, slab_v), strict=True):
                slot[row, :, i] = slab[row_chunk[step // T % B, row], :, step % T]
    heads = q.transpose(0, 1).reshape(R, H_kv * G, D)
    own = (*slots, torch.arange(R), count)
    want = tree_attention.reference(heads, k, v, spans, seen_by, *own, scale)
    out = slab_attention.reference(*to_float64(case.inputs()))
    assert_close(out, want, atol=1e-12, rtol=0)


NAMES = ("q", "prefix_k", "prefix_v", "segment_columns", "segment_rows", "slab_k", "slab_v")
NAMES += ("row_chunk", "first", "last", "scale")


@pytest.mark.parametrize("name", ["prefix_v", "segment_rows", "slab_v", "row_chunk", "last"])
def test_a_wrong_shape_is_named(name):
    case = SlabCase(((0, 3, 4),), 3, 2, 2, 16, 2)
    inputs = dict(zip(NAMES, case.inputs(), strict=True))
    inputs[name] = inputs[name][..., 1:]
    with pytest.raises(ValueError, match=f"slab_attention: {name} must"):
        slab_attention(*inputs.values())
