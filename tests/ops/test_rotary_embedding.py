from __future__ import annotations

import pytest
import torch

from t2engine.ops import rotary_embedding
from tests.backends import assert_close, to_float64
from tests.cases import ROTARY_EMBEDDING, RotaryCase


@pytest.mark.parametrize("case", ROTARY_EMBEDDING, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = rotary_embedding(*inputs, backend=backend)
    assert_close(out, rotary_embedding.reference(*to_float64(inputs)), atol=1e-6, rtol=1e-6)


def test_rotation_keeps_lengths_and_composes(backend, device):
    x, cos, sin = RotaryCase(6, 2, 32, 32).inputs(device)
    once = rotary_embedding(x, cos, sin, backend=backend)
    assert_close(once.norm(dim=-1), x.norm(dim=-1), atol=1e-5, rtol=1e-5)
    back = rotary_embedding(once, cos, -sin, backend=backend)
    assert_close(back, x, atol=2e-6, rtol=1e-5)


def test_features_past_the_rotary_ones_are_copied(backend, device):
    x, cos, sin = RotaryCase(3, 2, 33, 16).inputs(device)
    assert torch.equal(rotary_embedding(x, cos, sin, backend=backend)[..., 16:], x[..., 16:])


def test_a_wrong_shape_is_named():
    x, cos, sin = RotaryCase(3, 2, 8, 8).inputs()
    with pytest.raises(ValueError, match=r"rotary_embedding: sin must be \[3, 4\], got \[2, 4\]"):
        rotary_embedding(x, cos, sin[:2])
    with pytest.raises(ValueError, match=r"rotary_embedding: cos must be \[3, 3\], got \[3, 4\]"):
        rotary_embedding(x[..., :6], cos, sin)
