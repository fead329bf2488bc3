"""The loop that does not wait for the host, against the engine that looks at every token."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine import LLM, RequestOutput, SamplingParams, metering
from t2engine.engine import device_run
from t2engine.engine.device import DeviceExecutor, DeviceRuntime
from t2engine.engine.device_rows import DeviceRows
from t2engine.engine.device_stage import BUCKETS, bucket
from tests.engine.device_harness import llm_on_device
from tests.model.tiny import EOS

PROMPTS = ["the number of the answer and", "a question", [7, 8, 9, 10, 11], list(range(3, 150))]


def told(outputs: list[RequestOutput]) -> list:
    return [
        [(s.index, s.token_ids, s.text, s.finish_reason, s.stop_reason) for s in output.outputs]
        for output in outputs
    ]


@pytest.fixture(scope="module")
def simple(tiny_dir: Path) -> LLM:
    return LLM(tiny_dir, device="cpu")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("slots", [3, 20, 256])
def test_same_tokens(tiny_dir: Path, simple: LLM, slots: int, temperature: float) -> None:
    params = SamplingParams(n=7, seed=5, temperature=temperature, max_tokens=30, top_p=0.95)
    got = llm_on_device(tiny_dir, slots).generate(PROMPTS, params)
    assert told(got) == told(simple.generate(PROMPTS, params))
    assert len({s.token_ids for s in got[0].outputs}) == (7 if temperature else 1)


requests = st.lists(
    st.tuples(
        st.lists(st.integers(3, 319), min_size=1, max_size=40),
        st.builds(
            SamplingParams,
            n=st.integers(1, 9),
            seed=st.integers(0, 99),
            temperature=st.sampled_from([0.0, 0.7, 1.0, 1.5]),
            top_k=st.sampled_from([0, 5]),
            min_p=st.sampled_from([0.0, 0.1]),
            max_tokens=st.integers(1, 25),
            ignore_eos=st.booleans(),
            # A third of the vocabulary ends a sample: finish patterns of every kind.
            stop_token_ids=st.sampled_from([(), (5, 9), tuple(range(3, 100))]),
            stop=st.sampled_from([(), ("e",), ("an", "q")]),
        ),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(
    requests=requests,
    slots=st.integers(1, 30),
    slab_steps=st.integers(1, 9),
    steps_ahead=st.integers(1, 12),
    bursts_ahead=st.integers(0, 3),
)
def test_same_tokens_whatever_ends_when(
    tiny_dir: Path,
    simple: LLM,
    requests: list[tuple[list[int], SamplingParams]],
    slots: int,
    slab_steps: int,
    steps_ahead: int,
    bursts_ahead: int,
) -> None:
    prompts, params = map(list, zip(*requests, strict=True))
    llm = llm_on_device(tiny_dir, slots, slab_steps, steps_ahead)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_run, "BURSTS_AHEAD", bursts_ahead)
        got = llm.generate(prompts, params)
    want = simple.generate(prompts, params)
    assert told(got) == told(want)
    for ours, theirs in zip(got, want, strict=True):
        for a, b in zip(ours.outputs, theirs.outputs, strict=True):
            assert a.cost.flops == b.cost.flops  # what a sample needs, whoever masks what
            assert (b.cost.waste_flops, a.cost.waste_flops >= 0) == (0, True)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every step that ran, padding included."""
    seen: list[int] = []
    run = DeviceExecutor.decode_step

    def spy(self: DeviceExecutor, view: device_run.RowView, ends: tuple) -> None:
        seen.append(len(view))
        run(self, view, ends)

    monkeypatch.setattr(DeviceExecutor, "decode_step", spy)
    return seen


def test_every_step_is_paid_for(tiny_dir: Path, steps: list[int]) -> None:
    """FLOPs of samples and waste together are those of the rows that went through the layers."""
    params = SamplingParams(n=21, seed=2, max_tokens=40, stop_token_ids=tuple(range(3, 60)))
    prompt = list(range(3, 40))
    llm = llm_on_device(tiny_dir, 9, slab_steps=8, steps_ahead=5)
    [output] = llm.generate([prompt], params)
    config = llm.config
    one_key = metering.attention_flops(config, 1)
    weights = sum(steps) * 2 * metering.matmul_params(config)
    lengths = [len(s.token_ids) for s in output.outputs]
    own = sum(length * (length - 1) // 2 for length in lengths) * one_key
    total = output.cost.decode_flops + output.cost.waste_flops
    rows, rest = divmod(total - weights - own, len(prompt) * one_key)
    assert rest == 0
    assert sum(n - 1 for n in lengths) < rows <= sum(steps)  # that attended to the prompt
    assert output.cost.waste_flops > 0


def test_steps_shrink_when_few_samples_are_left(tiny_dir: Path, steps: list[int]) -> None:
    most = [3] * 20 + [40, 40]
    params = [
        SamplingParams(n=1, seed=i, max_tokens=m, ignore_eos=True) for i, m in enumerate(most)
    ]
    llm_on_device(tiny_dir).generate([[7, 8]] * len(most), params)
    assert steps == [bucket(22)] * 2 + [bucket(2)] * 37


def test_a_row_is_refilled_without_a_new_arrangement(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arranged = Counter()
    rearrange = DeviceRows.rearrange

    def spy(self: object, source: torch.Tensor) -> None:
        arranged["times"] += 1
        rearrange(self, source)

    monkeypatch.setattr(DeviceRows, "rearrange", spy)
    params = SamplingParams(n=24, seed=1, max_tokens=6, ignore_eos=True)
    llm_on_device(tiny_dir, 8).generate([[7, 8]], params)
    assert arranged["times"] == 1


def test_samples_come_as_they_end(tiny_dir: Path) -> None:
    llm = llm_on_device(tiny_dir, 4, steps_ahead=2)
    params = [SamplingParams(n=2, seed=1, max_tokens=m, ignore_eos=True) for m in (30, 4)]
    order = [done.prompt_index for done in llm.stream([[7, 8], [9, 10]], params)]
    assert order == [1, 1, 0, 0]


def test_a_stream_that_is_left_leaves_the_model_usable(tiny_dir: Path, simple: LLM) -> None:
    llm = llm_on_device(tiny_dir, 4)
    params = SamplingParams(n=9, seed=1, max_tokens=12, ignore_eos=True)
    first = next(llm.stream(PROMPTS[:2], params))
    assert first.output.token_ids
    assert told(llm.generate(PROMPTS, params)) == told(simple.generate(PROMPTS, params))


def test_the_end_token_is_the_last(tiny_dir: Path) -> None:
    ends = set(range(3, 40))
    params = SamplingParams(n=30, seed=4, max_tokens=50, stop_token_ids=tuple(ends))
    [output] = llm_on_device(tiny_dir).generate([PROMPTS[1]], params)
    ended = [s for s in output.outputs if s.finish_reason == "stop"]
    assert len(ended) > 20
    for sample in ended:
        assert sample.token_ids[-1] in ends | {EOS}
        assert not ends & set(sample.token_ids[:-1])


def test_the_next_call_decodes_where_the_last_did(tiny_dir: Path, simple: LLM) -> None:
    """As long as it fits; other end tokens, fewer samples and shorter prompts do."""
    llm = llm_on_device(tiny_dir, 8)
    assert isinstance(llm.runtime, DeviceRuntime)
    stages = []
    for n, prompt, ends in ((8, 40, (5,)), (3, 20, (7, 8)), (8, 60, ()), (5, 60, (9,))):
        params = SamplingParams(n=n, seed=3, max_tokens=20, stop_token_ids=ends)
        prompts = [list(range(3, 3 + prompt))]
        assert told(llm.generate(prompts, params)) == told(simple.generate(prompts, params))
        stages.append(llm.runtime.idle)
    assert stages[0] is stages[1] is not stages[2] is stages[3]
    assert stages[0].nbytes < stages[2].nbytes


def test_calls_side_by_side_do_not_share(tiny_dir: Path, simple: LLM) -> None:
    llm = llm_on_device(tiny_dir, 8)
    params = SamplingParams(n=6, seed=3, max_tokens=20)
    streams = [llm.stream([prompt], params) for prompt in PROMPTS[:2]]
    got: list[list] = [[], []]
    for _ in range(6):
        for i, stream in enumerate(streams):
            got[i].append(next(stream).output)
    for i, want in enumerate(simple.generate(PROMPTS[:2], params)):
        ours = sorted((s.index, s.token_ids) for s in got[i])
        assert ours == [(s.index, s.token_ids) for s in want.outputs]


def test_buckets() -> None:
    assert all(bucket(rows) >= rows for rows in range(1, 6000))
    assert [bucket(size) for size in BUCKETS] == list(BUCKETS)
    assert bucket(4097) == 5120
