"""The small operations of a decode step, as the GPU benchmark feeds them."""

from __future__ import annotations

import pytest
import torch

from benchmarks.gpu import steps
from t2engine.ops import OPS
from tests.slab_cases import RopeAppendCase, StepUpdateCase


@pytest.mark.parametrize("name", ["rms_norm", "silu_mul", "sample_tokens", "step_update"])
def test_small_operations_have_inputs_of_their_contract(name, monkeypatch):
    monkeypatch.setattr(steps, "DEVICE", "cpu")
    monkeypatch.setattr(steps, "ROWS", 4)
    monkeypatch.setattr(steps, "MODELS", ("5M",))
    monkeypatch.setattr(steps, "STEP_UPDATE_AT_SCALE", [StepUpdateCase(5, 50, 16)])
    found = [op for _, op in steps.step_ops(quick=False) if op.name == name]
    assert found
    for op in found:
        inputs = op.make(0)
        OPS[name].check(*inputs)
        assert inputs[0].dtype in (torch.bfloat16, torch.int64)
        if op.torch_way and name != "sample_tokens":
            want = OPS[name].reference(*inputs).float()
            torch.testing.assert_close(op.torch_way(*inputs).float(), want, atol=2e-2, rtol=2e-2)


def test_a_step_can_be_timed_again_and_again(monkeypatch):
    """No row ends, so that the last call does what the first did."""
    monkeypatch.setattr(steps, "DEVICE", "cpu")
    inputs = steps.case_inputs(StepUpdateCase(7, 50, 16), "step_update", 0)
    for _ in range(9):
        OPS["step_update"].reference(*inputs)
    assert inputs[steps.ALIVE].tolist() == [1] * 7


def test_rows_are_appended_in_bfloat16_with_angles_in_float32(monkeypatch):
    monkeypatch.setattr(steps, "DEVICE", "cpu")
    inputs = steps.case_inputs(RopeAppendCase(3, 2, 2, 16, 16), "rope_append", 0)
    OPS["rope_append"].check(*inputs)
    assert {inputs[4].dtype, inputs[5].dtype} == {torch.float32}
    assert {inputs[0].dtype, inputs[10].dtype, inputs[11].dtype} == {torch.bfloat16}
