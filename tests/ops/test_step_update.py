from __future__ import annotations

import pytest
import torch

from t2engine.ops import philox_uniform, step_update
from tests.slab_cases import STEP_UPDATE, StepUpdateCase

NAMES = (
    "token",
    "alive",
    "drawn",
    "position",
    "first",
    "last",
    "drawn_tokens",
    "hidden",
    "uniform",
)
NAMES += ("max_new_tokens", "end_set", "end_bounds", "end_ids", "seed", "prompt", "sample", "embed")


def named(inputs):
    return dict(zip(NAMES, inputs, strict=True))


@pytest.mark.parametrize("case", STEP_UPDATE, ids=str)
def test_backend_matches_reference(case, backend, device):
    got, want = named(case.inputs(device)), named(case.inputs())
    step_update(*got.values(), backend=backend)
    step_update.reference(*want.values())
    for name, value in want.items():
        assert torch.equal(got[name].cpu(), value), name


def test_one_row_of_each_kind():
    """Ends by a token, ends by its length, goes on, was not alive."""
    before = named(StepUpdateCase(4, 9, 3).inputs())
    before["token"] = torch.tensor([5, 6, 7, 8])
    before["alive"] = torch.tensor([1, 1, 1, 0])
    before["drawn"] = torch.tensor([2, 2, 2, 2])
    before["max_new_tokens"] = torch.tensor([9, 3, 9, 9])
    before["first"], before["last"] = torch.tensor([4, 4, 4, 0]), torch.tensor([6, 6, 6, -1])
    before["end_set"] = torch.tensor([1, 0, 0, 0])
    before["end_bounds"], before["end_ids"] = torch.tensor([0, 0, 2]), torch.tensor([1, 5])
    after = {name: value.clone() for name, value in before.items()}
    step_update(*after.values(), backend="torch")
    assert after["alive"].tolist() == [0, 0, 1, 0]
    assert after["drawn"].tolist() == [3, 3, 3, 2]
    assert after["first"].tolist() == [0, 0, 4, 0]
    assert after["last"].tolist() == [-1, -1, 7, -1]
    assert after["drawn_tokens"][6 % 4, :3].tolist() == [5, 6, 7]
    assert torch.equal(after["drawn_tokens"][:, 3], before["drawn_tokens"][:, 3])
    assert (after["position"] - before["position"]).tolist() == [0, 0, 1, 0]
    assert torch.equal(after["hidden"][2], before["embed"][7])
    draw = [before[name][2:3] for name in ("seed", "prompt", "sample")]
    assert after["uniform"][2:3].equal(philox_uniform(*draw, torch.tensor([3]), backend="torch"))
    for row in (0, 1, 3):
        assert torch.equal(after["hidden"][row], before["hidden"][row])
        assert after["uniform"][row] == before["uniform"][row]


@pytest.mark.parametrize("name", ["alive", "drawn_tokens", "hidden", "uniform", "sample"])
def test_a_wrong_shape_is_named(name):
    inputs = named(StepUpdateCase(3, 9, 4).inputs())
    inputs[name] = inputs[name][..., 1:]
    with pytest.raises(ValueError, match=f"step_update: {name} must"):
        step_update(*inputs.values())
