"""What DeviceSteps runs, on the CPU's tensors: steps, tokens and prompts to the last one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from t2engine.costs.ladder import ladder_shape
from t2engine.costs.steps import DecodeStep, PrefillStep, tabulate
from t2engine.engine import device_run, device_stage
from t2engine.engine.device import DeviceExecutor, DeviceRuntime
from t2engine.engine.prefix_tree import PrefixTree
from t2engine.hardware.device_steps import (
    WARM_TOKENS,
    DeviceSteps,
    num_steps,
    random_device_model,
    requests_of,
)
from t2engine.hardware.native_steps import make_batch
from t2engine.metering import prefill_bytes, prefill_flops
from t2engine.model.device_model import DeviceModel
from t2engine.model.random_weights import RandomWeights
from t2engine.schema import ModelConfig, Precision

CONFIG = replace(ladder_shape(32, vocab_size=97), num_layers=2)
STEPS = (
    DecodeStep(5, 1, 40, 6),
    DecodeStep(5, 5, 20, 3),
    DecodeStep(7, 3, 65, 1),
    DecodeStep(1, 1, 1, 9),
)


def bench(
    most_samples: int = 8, store_bytes: int = 1 << 26, slab_steps: int = 8, steps_ahead: int = 5
) -> DeviceSteps:
    model = DeviceModel(CONFIG, RandomWeights(CONFIG), torch.device("cpu"), "float32")
    return DeviceSteps(DeviceRuntime(model, slab_steps, steps_ahead), most_samples, store_bytes)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every step that ran, padding included."""
    seen: list[int] = []
    run = DeviceExecutor.decode_step

    def spy(self: DeviceExecutor, view: device_run.RowView, ends: tuple) -> None:
        seen.append(len(view))
        run(self, view, ends)

    monkeypatch.setattr(DeviceExecutor, "decode_step", spy)
    return seen


@pytest.fixture
def prefills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Prompt tokens of every pass that ran."""
    seen: list[int] = []
    run = DeviceExecutor.prefill

    def spy(self: DeviceExecutor, batch: object) -> torch.Tensor:
        seen.append(len(batch.tokens))
        return run(self, batch)

    monkeypatch.setattr(DeviceExecutor, "prefill", spy)
    return seen


@pytest.mark.parametrize("step", STEPS)
@torch.inference_mode()
def test_a_call_counts_what_its_steps_are_priced_at(step: DecodeStep):
    steps = bench()
    run = steps.start(step)
    assert run.now == 0
    assert steps.drain(run) > 0
    assert run.now == 2 * step.suffix_len - 1
    price = tabulate([(CONFIG, steps.precision)], [step], 2048)
    assert run.meter.decode_flops.sum() == run.now * price.flops[0]
    prompts = step.num_prompts * prefill_bytes(CONFIG, step.prefix_len)
    assert run.meter.physical_bytes.sum() - prompts == run.now * price.bytes[0]


@pytest.mark.parametrize("step", STEPS)
@torch.inference_mode()
def test_it_is_the_composition_of_the_cpus_bench(step: DecodeStep):
    run = bench().start(step)
    assert run.batch is not None
    ours, theirs = run.batch, make_batch(step, 10_000)
    assert torch.equal(ours.segment_rows, theirs.segment_rows)
    assert torch.equal(ours.segment_columns, theirs.segment_columns)
    assert torch.equal(ours.prefix_len, theirs.prefix_len)
    assert torch.equal(ours.row_slot, theirs.row_slot)


@pytest.mark.parametrize("step", STEPS)
def test_a_visit_is_warmed_once_and_timed_alone(step: DecodeStep, rows: list[int]):
    steps = bench()
    padded = device_stage.bucket(step.num_samples)
    assert steps.seconds(step) > 0
    assert rows == [padded] * (WARM_TOKENS - 1 + num_steps(step))
    rows.clear()
    assert steps.seconds(step) > 0
    assert rows == [padded] * num_steps(step)


def test_a_call_in_which_a_step_was_recorded_is_made_again(
    rows: list[int], monkeypatch: pytest.MonkeyPatch
):
    """As where buffers of other compositions have grown, and their addresses have changed."""
    steps, step = bench(), DecodeStep(4, 1, 20, 3)
    steps.seconds(step)
    stage = steps.runtime.idle
    assert stage is not None
    rows.clear()
    run, new = stage.graphs.run, [object()]

    def recording(key: object, call: object, count: int) -> None:
        if new:
            stage.graphs.graphs[key] = new.pop()
        run(key, call, count)

    monkeypatch.setattr(stage.graphs, "run", recording)
    assert steps.seconds(step) > 0
    assert len(rows) == 2 * num_steps(step)
    rows.clear()
    steps.seconds(step)
    assert len(rows) == num_steps(step)


def test_one_stage_serves_all_steps_once_it_has_grown(rows: list[int]):
    steps = bench()
    for step in STEPS * 2:
        steps.seconds(step)
    stage = steps.runtime.idle
    rows.clear()
    for step in STEPS:
        steps.seconds(step)
    assert steps.runtime.idle is stage
    assert len(rows) == sum(map(num_steps, STEPS))


def test_steps_that_do_not_fit_side_by_side_have_a_stage_each():
    long, wide = DecodeStep(1, 1, 300, 2), DecodeStep(8, 1, 20, 20)
    steps = bench()
    for step in (long, wide):
        steps.seconds(step)
    assert steps.runtime.idle is not None
    union = steps.runtime.idle.nbytes
    steps = bench(store_bytes=union - 1)
    for step in (long, wide, long):
        assert steps.seconds(step) > 0
        assert steps.runtime.idle.nbytes < union


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"must fit 0\.1 MiB, got 8 of 8 samples in"):
        bench(store_bytes=100_000).seconds(DecodeStep(8, 1, 300, 30))
    with pytest.raises(ValueError, match="at most 8 samples, got 9"):
        bench().seconds(DecodeStep(9, 1, 3, 3))


@pytest.mark.parametrize("length", [1, 7, 64, 65, 3000])
def test_a_prefill_runs_the_whole_prompt(length: int, prefills: list[int]):
    steps = bench()
    assert steps.seconds(PrefillStep(length)) > 0
    assert sum(prefills) == 2 * length  # the first time warms
    assert max(prefills) <= 2048
    prefills.clear()
    steps.seconds(PrefillStep(length))
    assert sum(prefills) == length


def test_a_prefill_and_the_price_of_one_agree_in_flops():
    price = tabulate([(CONFIG, bench().precision)], [PrefillStep(300)], 2048)
    assert price.flops[0] == prefill_flops(CONFIG, 300)


@pytest.mark.parametrize(("n", "prompts", "length", "vocab"), [(64, 64, 2, 9), (9, 4, 70, 97)])
def test_prompts_share_nothing(n: int, prompts: int, length: int, vocab: int):
    requests = requests_of(DecodeStep(n, prompts, length, 1), small(vocab))
    assert len({request.token_ids for request in requests}) == prompts
    tree = PrefixTree(prompts * length)
    leaves = [tree.insert(request.token_ids) for request in requests]
    assert all(leaf is not None and len(leaf.tokens) == length for leaf in leaves)
    counts = [request.params.n for request in requests]
    assert sum(counts) == n
    assert max(counts) - min(counts) <= 1
    assert [r.first_handle for r in requests] == [0, *np.cumsum(counts)[:-1]]


def test_prompts_too_short_to_differ_are_refused():
    with pytest.raises(ValueError, match="10 prompts of 1 tokens cannot all differ"):
        requests_of(DecodeStep(10, 10, 1, 1), small(9))


def small(vocab_size: int) -> ModelConfig:
    return replace(CONFIG, vocab_size=vocab_size)


def test_repeated_steps_are_all_that_is_in_the_window(
    rows: list[int], prefills: list[int], monkeypatch: pytest.MonkeyPatch
):
    steps, step = bench(), DecodeStep(3, 1, 20, 4)
    for warmed in (PrefillStep(30), step):
        steps.seconds(warmed)
    seen: list[tuple[int, int]] = []

    @contextmanager
    def window():
        before = len(rows), len(prefills)
        yield
        seen.append((len(rows) - before[0], len(prefills) - before[1]))

    monkeypatch.setattr(steps, "seconds", lambda _: 1e-3)
    prefills.clear()
    assert steps.repeat(step, 0.02, window()) == 3 * num_steps(step)  # 21 ms
    assert seen == [(21, 0)]
    assert prefills == [20]  # one prompt for all three turns of samples
    count = steps.repeat(PrefillStep(30), 0.02, window())
    assert seen[1] == (0, count)
    assert count >= 1
    with pytest.raises(ValueError, match="must have one prompt"):
        steps.repeat(DecodeStep(4, 2, 20, 4), 0.01, window())


def test_types_of_weights():
    runtime = random_device_model(CONFIG, torch.device("cpu"), "bfloat16")
    steps = DeviceSteps(runtime, 4, 1 << 24)
    assert steps.precision == Precision("bfloat16", "bfloat16")
    assert runtime.model.embed.dtype == torch.bfloat16
