from __future__ import annotations

import pytest
import torch

from t2engine.ops import merge_states
from tests.backends import assert_close, to_float64
from tests.cases import MERGE_STATES


@pytest.mark.parametrize("case", MERGE_STATES, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out, lse = merge_states(*inputs, backend=backend)
    want_out, want_lse = merge_states.reference(*to_float64(inputs))
    assert_close(out, want_out, atol=1e-6, rtol=1e-5)
    assert_close(lse, want_lse, atol=1e-6, rtol=1e-5)


def test_merging_with_no_keys_changes_nothing(backend, device):
    out, lse, *_ = MERGE_STATES[2].inputs(device)
    none = torch.zeros_like(out), torch.full_like(lse, -torch.inf)
    for merged in (
        merge_states(out, lse, *none, backend=backend),
        merge_states(*none, out, lse, backend=backend),
    ):
        assert_close(merged[0], out, atol=1e-6, rtol=1e-6)
        assert_close(merged[1], lse, atol=1e-6, rtol=1e-6)
    out, lse = merge_states(*none, *none, backend=backend)
    assert (out == 0).all()
    assert (lse == -torch.inf).all()


def test_order_of_merging_does_not_matter(backend, device):
    out_a, lse_a, out_b, lse_b = MERGE_STATES[4].inputs(device)
    a, b, c = (out_a, lse_a), (out_b, lse_b), (out_a.flip(0), lse_b.flip(0))
    left = merge_states(*merge_states(*a, *b, backend=backend), *c, backend=backend)
    right = merge_states(*a, *merge_states(*b, *c, backend=backend), backend=backend)
    for x, y in zip(left, right, strict=True):
        assert_close(x, y, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["lse_a", "out_b", "lse_b"])
def test_a_wrong_shape_is_named(name):
    inputs = dict(zip(("out_a", "lse_a", "out_b", "lse_b"), MERGE_STATES[2].inputs(), strict=True))
    inputs[name] = inputs[name][:-1]
    with pytest.raises(ValueError, match=f"merge_states: {name} must be"):
        merge_states(*inputs.values())
