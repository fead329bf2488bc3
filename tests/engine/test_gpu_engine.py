"""LLM on a GPU: skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from t2engine import LLM, SamplingParams
from tests.engine.device_harness import device_logits, load_on_device
from tests.engine.harness import load_theirs, their_logits
from tests.engine.test_forward import some_tokens
from tests.model.tiny import TINY_MODELS, write_tiny_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
PROMPTS = [[5, 6, 7], list(range(3, 150)), list(range(3, 290))]


@pytest.mark.parametrize("name", TINY_MODELS)
def test_float32_logits_equal_transformers(tmp_path: Path, name: str) -> None:
    family, overrides = TINY_MODELS[name]
    model_dir = write_tiny_model(tmp_path, family, **overrides)
    tokens = some_tokens(160)
    want = their_logits(load_theirs(model_dir), tokens)[129:]
    got = device_logits(load_on_device(model_dir, "cuda"), tokens, 130, slab_steps=8)
    assert (got.cpu() - want).abs().max() <= 5e-4


@pytest.mark.parametrize("slots", [3, 64])
def test_float32_samples_are_the_cpus(tiny_dir: Path, slots: int) -> None:
    """Bursts, recorded steps, refills and ends; a draw may fall on a boundary once in a while."""
    params = SamplingParams(n=20, seed=5, max_tokens=100, top_p=0.95)
    want = LLM(tiny_dir, device="cpu").generate(PROMPTS, params)
    got = LLM(tiny_dir, device="cuda", dtype="float32", max_num_seqs=slots).generate(
        PROMPTS, params
    )
    pairs = [
        (a.token_ids, b.token_ids)
        for x, y in zip(got, want, strict=True)
        for a, b in zip(x.outputs, y.outputs, strict=True)
    ]
    assert sum(a == b for a, b in pairs) >= 0.95 * len(pairs)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near(tiny_dir: Path, dtype: str) -> None:
    tokens = some_tokens(160)
    want = their_logits(load_theirs(tiny_dir), tokens)[129:]
    got = device_logits(load_on_device(tiny_dir, "cuda", dtype), tokens, 130, slab_steps=8)
    assert (got.cpu() - want).abs().mean() <= 0.1 * want.std()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_invariant_samples_depend_on_no_company(tiny_dir: Path, dtype: str) -> None:
    params = SamplingParams(n=16, seed=5, max_tokens=80, logprobs=0)
    options = {"device": "cuda", "dtype": dtype, "invariant": True}
    alone = LLM(tiny_dir, **options).generate([PROMPTS[2]], params)[0]
    for slots in (5, 64):
        llm = LLM(tiny_dir, max_num_seqs=slots, **options)
        company = llm.generate(PROMPTS, params)[2]
        for a, b in zip(alone.outputs, company.outputs, strict=True):
            assert (a.token_ids, a.cumulative_logprob) == (b.token_ids, b.cumulative_logprob)


def test_calls_that_follow_each_other(tiny_dir: Path) -> None:
    """The second finds the first's recorded steps."""
    llm = LLM(tiny_dir, device="cuda", dtype="float32", max_num_seqs=16)
    params = SamplingParams(n=16, seed=5, max_tokens=70)
    first, second = (
        [s.token_ids for s in llm.generate([PROMPTS[1]], params)[0].outputs] for _ in range(2)
    )
    assert first == second
