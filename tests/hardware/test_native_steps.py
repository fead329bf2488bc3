from __future__ import annotations

import pytest
import torch

from t2engine.costs.ladder import ladder_shape
from t2engine.costs.steps import DecodeStep, PrefillStep
from t2engine.hardware import native_steps
from t2engine.hardware.native_steps import NativeSteps, StoreMemory, make_batch, random_model
from t2engine.schema import Precision

CONFIG = ladder_shape(64, vocab_size=320)
PRECISIONS = (Precision("float32", "float32"), Precision("bfloat16", "bfloat16"))
PRECISIONS += (Precision("int8", "int8"),)
STEPS = (
    DecodeStep(1, 1, 1, 1),
    DecodeStep(6, 1, 40, 9),
    DecodeStep(6, 6, 40, 1),
    DecodeStep(6, 4, 17, 3),
)


@pytest.fixture(params=PRECISIONS, ids=str)
def steps(request: pytest.FixtureRequest) -> NativeSteps:
    memory = StoreMemory(2 << 20, request.param.cache)
    return NativeSteps(random_model(CONFIG, request.param, 1), memory, most_samples=6)


@pytest.mark.parametrize("step", [*STEPS, PrefillStep(1), PrefillStep(300)], ids=str)
def test_steps_are_timed(steps: NativeSteps, step) -> None:
    assert 0 < steps.seconds(step) < 10
    assert 0 < steps.seconds(step) < 10  # the stage is there already


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_step_gives_every_sample_a_token(steps: NativeSteps, step: DecodeStep) -> None:
    """The engine's own loop draws them: as many as were run, from where the suffix stands."""
    steps.seconds(step)
    stage = steps.stages[step]
    drawn = stage.slots.drawn
    before = drawn.clone()
    with torch.inference_mode():
        steps.run(stage, step, 4)
    assert len(drawn) == step.num_samples
    assert drawn.eq(max(1, step.suffix_len - 2) + 4).all()
    assert before.ge(step.suffix_len).all()
    for slot in range(int(step.num_samples)):
        tokens = stage.slots.tokens(slot)
        assert all(0 <= token < CONFIG.vocab_size for token in tokens)


def test_logits_are_numbers(steps: NativeSteps) -> None:
    """Random stores hold nothing that would make a step slower, or a draw impossible."""
    step = STEPS[1]
    steps.seconds(step)
    stage = steps.stages[step]
    with torch.inference_mode():
        stage.slots.drawn.fill_(step.suffix_len)
        logits = stage.executor.logits(stage.executor.decode(stage.batch, stage.slots))
    assert logits.shape == (6, CONFIG.vocab_size)
    assert logits.isfinite().all()


def test_rows_of_prompts() -> None:
    batch = make_batch(DecodeStep(7, 3, 10, 1), columns=20)
    assert batch.segment_rows.tolist() == [[0, 2], [2, 4], [4, 7]]
    assert batch.segment_columns.tolist() == [[0, 10], [10, 20], [0, 10]]  # round what there is


def test_stores_share_one_memory(steps: NativeSteps) -> None:
    before = steps.memory.elements.data_ptr()
    for step in STEPS:
        steps.seconds(step)
    assert steps.memory.elements.data_ptr() == before
    assert steps.memory.taken <= len(steps.memory.elements)


def test_what_does_not_fit_is_refused_with_numbers() -> None:
    precision = PRECISIONS[0]
    memory = StoreMemory(1 << 20, precision.cache)
    steps = NativeSteps(random_model(CONFIG, precision, 1), memory, most_samples=6)
    with pytest.raises(ValueError, match=r"needs 2 MiB .* expected at most 1 MiB"):
        steps.seconds(PrefillStep(2048))


def test_steps_that_are_short_run_together(steps: NativeSteps, monkeypatch) -> None:
    counts = []
    run = steps.run
    monkeypatch.setattr(
        steps, "run", lambda stage, step, n: counts.append(n) or run(stage, step, n)
    )
    steps.seconds(STEPS[0])
    monkeypatch.setattr(native_steps, "SHORT_SECONDS", 0.0)
    steps.seconds(STEPS[0])
    assert counts[0] == 1
    assert counts[1] > 1
    assert len(counts) == 3  # once unmeasured, then measured; now measured at once
