"""The device's loop over the Triton kernels, in their interpreter, and over recorded steps."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest
import torch

from t2engine import LLM, SamplingParams
from t2engine.engine import device_run, device_stage
from t2engine.engine.device_attention import StepAttention
from t2engine.engine.step_graphs import StepGraphs
from t2engine.ops import OPS, Op
from tests.backends import require, why_not
from tests.engine.device_harness import llm_on_device
from tests.model.tiny import write_tiny_model

KERNELS = ("rms_norm", "silu_mul", "rope_append", "slab_attention", "sample_tokens", "step_update")
PROMPT = list(range(3, 133))  # long enough for the prefix kernel


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"), "qwen3", num_hidden_layers=2)


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's kernels wherever there are any, on the CPU's tensors."""
    if torch.cuda.is_available():
        pytest.skip("Triton compiles where there is a GPU; test_gpu_engine.py runs there")
    for name in KERNELS:
        require("triton", why_not(OPS[name], "triton"))
    pick = Op.pick

    def choose(op: Op, device: str) -> str:
        return "triton" if op.name in KERNELS else pick(op, device)

    monkeypatch.setattr(Op, "pick", choose)


def tokens(llm: LLM, params: SamplingParams) -> list[tuple[int, ...]]:
    [output] = llm.generate([PROMPT], params)
    return [sample.token_ids for sample in output.outputs]


@pytest.mark.usefixtures("interpreted")
def test_the_kernels_draw_the_cpus_tokens(model_dir: Path) -> None:
    """Ten samples on eight rows: prefix and suffix kernel, slabs, ends and refills."""
    params = SamplingParams(n=10, seed=2, max_tokens=5, top_p=0.9, stop_token_ids=tuple(range(99)))
    got = tokens(llm_on_device(model_dir, 8, slab_steps=3, steps_ahead=2), params)
    assert got == tokens(LLM(model_dir, device="cpu"), params)
    assert len({len(sample) for sample in got}) > 1


class Recorded(StepGraphs):
    """Plays back the first step of a kind as it was then: a CUDA graph's addresses, its grid, its
    scalars, and nothing that Python has changed since."""

    attention: StepAttention

    def run(self, key: Hashable, step: Callable[[], None], count: int) -> None:
        kept: dict[Hashable, tuple[Callable[[], None], Any]] = self.graphs  # type: ignore[assignment]
        kept.setdefault(key, (step, self.attention.plan))
        first, plan = kept[key]
        now, self.attention.plan = self.attention.plan, plan
        for _ in range(count):
            first()
        self.attention.plan = now
        self.played = getattr(self, "played", 0) + (first is not step)


@pytest.mark.usefixtures("interpreted")
def test_a_recorded_step_serves_every_batch_of_its_kind(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls, and prompts of several lengths that come and go: few steps are recorded."""
    llm = llm_on_device(model_dir, 4, slab_steps=2, steps_ahead=2)
    stages = []
    take_stage = device_run.take_stage

    def recorded(*given: Any) -> Any:
        stages.append(take_stage(*given))
        Recorded.attention = stages[-1].executor.attention
        return stages[-1]

    monkeypatch.setattr(device_run, "take_stage", recorded)
    monkeypatch.setattr(device_stage, "StepGraphs", Recorded)
    simple = LLM(model_dir, device="cpu")
    for seed in (1, 2):
        params = [SamplingParams(n=n, seed=seed, max_tokens=4) for n in (3, 2, 2)]
        prompts = [PROMPT, PROMPT[:20], PROMPT[:70]]
        for ours, theirs in zip(
            llm.generate(prompts, params), simple.generate(prompts, params), strict=True
        ):
            assert [s.token_ids for s in ours.outputs] == [s.token_ids for s in theirs.outputs]
    assert stages[0] is stages[1]
    assert stages[0].graphs.played > len(stages[0].graphs.graphs)
