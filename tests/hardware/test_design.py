from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from t2engine.costs.steps import DecodeStep, PrefillStep
from t2engine.hardware.design import (
    FULL,
    QUICK,
    SHARING_SHAPE,
    decode_step_at,
    planned_steps,
    store_bytes,
)
from t2engine.metering import decode_flops
from t2engine.schema import Precision

SPEED = 1e11
FLOAT = Precision("float32", "float32")


@pytest.fixture(params=[FULL, QUICK], ids=["full", "quick"])
def effort(request):
    return request.param


def test_the_rule_of_holding_out(effort) -> None:
    """Third and sixth shape whole; every fourth point of the others; known before measuring."""
    *shapes, sharing = planned_steps(effort, FLOAT, SPEED, with_sharing=True)
    for number, plan in enumerate(shapes):
        for kind in (DecodeStep, PrefillStep):
            held = [p.held_out for p in plan if isinstance(p.step, kind)]
            whole = number in (2, 5)
            assert held == [whole or i % 4 == 3 for i in range(len(held))]
    assert 0 < sum(p.held_out for p in sharing) < len(sharing)
    assert planned_steps(effort, FLOAT, SPEED, with_sharing=True) == [*shapes, sharing]


def test_shapes_that_are_held_out_lie_between_others(effort) -> None:
    widths = [hidden for hidden, _ in effort.shapes]
    assert widths == sorted(widths)
    assert len(widths) > 6
    training = [hidden for hidden, _ in effort.training_shapes]
    for held in (training[2], *training[5:6]):
        assert min(training) < held < max(training)


def test_points_are_spread(effort) -> None:
    plans = planned_steps(effort, FLOAT, SPEED, with_sharing=False)
    steps = [p.step for plan in plans for p in plan if isinstance(p.step, DecodeStep)]
    for name, low, high in (("num_samples", 2, 128), ("prefix_len", 32, 4000)):
        values = [getattr(step, name) for step in steps]
        assert min(values) < low
        assert max(values) > high
    kinds = Counter(
        "one" if s.num_prompts == 1 else "each" if s.num_prompts == s.num_samples else "some"
        for s in steps
    )
    assert kinds["one"] > kinds["each"] > 3
    assert kinds["some"] > 3
    assert len(set(steps)) == len(steps)


def test_nothing_is_planned_that_takes_too_long_or_does_not_fit(effort) -> None:
    for plan in planned_steps(effort, FLOAT, SPEED, with_sharing=False):
        for planned in plan:
            step = planned.step
            if isinstance(step, DecodeStep):
                context = step.prefix_len + step.suffix_len
                flops = step.num_samples * decode_flops(planned.config, context)
                assert flops <= effort.step_seconds * SPEED
                assert store_bytes(planned.config, FLOAT, step) <= effort.store_bytes / 2


def test_a_slow_machine_gets_smaller_steps() -> None:
    fast, slow = (
        [p for plan in planned_steps(FULL, FLOAT, speed, False) for p in plan]
        for speed in (SPEED, SPEED / 100)
    )
    assert 0 < len(slow) < len(fast)


def test_sharing_is_on_one_shape_both_ways() -> None:
    *_, grid = planned_steps(QUICK, FLOAT, SPEED, with_sharing=True)
    assert {p.config.hidden_size for p in grid} == {SHARING_SHAPE[0]}
    shapes = {(p.step.num_samples, p.step.prefix_len) for p in grid}
    for n, length in shapes:
        prompts = [
            p.step.num_prompts
            for p in grid
            if (p.step.num_samples, p.step.prefix_len) == (n, length)
        ]
        assert sorted(prompts) == [1, n]
    assert {n for n, _ in shapes} >= {2, 256}


def test_corners_of_the_unit_cube() -> None:
    assert decode_step_at([0, 0, 0, 0]) == DecodeStep(1, 1, 16, 1)
    assert decode_step_at([1, 1, 1, 0.7]) == DecodeStep(256, 256, 8192, 512)
    assert decode_step_at([1, 0, 0, 0.9]).num_prompts == 16


def test_fewer_shapes_leave_the_others_as_they_were() -> None:
    """Memory may leave out the largest: the points of the rest are the same, on every machine."""
    fewer = replace(FULL, shapes=FULL.shapes[:-1])
    whole = planned_steps(FULL, FLOAT, SPEED, with_sharing=False)
    assert planned_steps(fewer, FLOAT, SPEED, with_sharing=False) == whole[:-1]
