"""Points for a GPU, where a step is timed in a whole call: none is longer or larger than it may."""

from __future__ import annotations

import pytest

from t2engine.costs.steps import DecodeStep
from t2engine.engine.slabs import SLAB_STEPS, ring_for
from t2engine.hardware.design import GPU_FULL, GPU_QUICK, Effort, decode_step_at, planned_steps
from t2engine.metering import decode_flops, key_value_bytes, parameter_count, prefill_flops
from t2engine.schema import Precision

SPEED = 2.0**42
HALF = Precision("bfloat16", "bfloat16")


@pytest.fixture(params=[GPU_FULL, GPU_QUICK], ids=["full", "quick"])
def effort(request: pytest.FixtureRequest) -> Effort:
    return request.param


def test_a_call_is_short_and_fits(effort: Effort):
    assert effort.call_seconds is not None
    for plan in planned_steps(effort, HALF, SPEED, with_sharing=True):
        for planned in plan:
            step, config = planned.step, planned.config
            if not isinstance(step, DecodeStep):
                continue
            steps = 2 * step.suffix_len - 1
            flops = step.num_prompts * prefill_flops(config, step.prefix_len)
            context = step.prefix_len + step.suffix_len
            flops += steps * step.num_samples * decode_flops(config, context)
            assert flops <= effort.call_seconds * SPEED
            columns = ring_for(steps) * SLAB_STEPS
            tokens = step.num_prompts * step.prefix_len + step.num_samples * columns
            assert key_value_bytes(config, tokens, HALF) <= effort.store_bytes


def test_there_are_enough_points_of_every_shape(effort: Effort):
    plans = planned_steps(effort, HALF, SPEED, with_sharing=True)
    *shapes, sharing = plans
    assert len(shapes) == len(effort.shapes)
    for plan in shapes:
        decode = [p for p in plan if isinstance(p.step, DecodeStep)]
        assert len(decode) == effort.steps_of_shape
        assert len(plan) - len(decode) >= 3
    kept = sum(not p.held_out for plan in plans for p in plan)
    assert kept > 50
    both = {(p.step.num_prompts == 1, p.held_out) for p in sharing}
    assert len(both) == 4


def test_the_largest_shape_has_the_layers_of_llama_3_8b():
    largest = planned_steps(GPU_FULL, HALF, SPEED, with_sharing=False)[-1][0].config
    assert (largest.hidden_size, largest.num_layers, largest.num_heads) == (4096, 32, 32)
    assert (largest.num_kv_heads, largest.head_dim) == (8, 128)
    assert 5e9 < parameter_count(largest) < 8e9  # a narrower MLP and a smaller vocabulary


def test_corners_of_the_unit_cube():
    ends = (GPU_FULL.most_samples, GPU_FULL.suffixes)
    assert decode_step_at([0, 0, 0, 0], *ends) == DecodeStep(1, 1, 16, 16)
    assert decode_step_at([1, 1, 1, 0.7], *ends) == DecodeStep(1024, 1024, 8192, 128)
