"""The whole forward pass against transformers, in every family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from t2engine.ops import Op
from t2engine.schema import Precision
from tests.engine.harness import load_ours, load_theirs, our_logits, their_logits
from tests.model.tiny import TINY_MODELS, VOCAB_SIZE, write_tiny_model

TOLERANCE = 2e-4


def some_tokens(length: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB_SIZE, (length,), generator=generator).tolist()


@pytest.fixture(scope="module", params=TINY_MODELS)
def model_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, overrides = TINY_MODELS[request.param]
    return write_tiny_model(tmp_path_factory.mktemp("model"), family, **overrides)


@pytest.mark.parametrize("prompt_len", [1, 2, 17, 600])
def test_logits_equal_transformers(model_dir: Path, prompt_len: int) -> None:
    tokens = some_tokens(prompt_len + 5)
    want = their_logits(load_theirs(model_dir), tokens)[prompt_len - 1 :]
    got = our_logits(load_ours(model_dir), tokens, prompt_len)
    assert want.std() > 0.5  # logits that differ: a comparison of near-zeros would prove nothing
    assert (got - want).abs().max() <= TOLERANCE


def test_prefill_equals_decode(model_dir: Path) -> None:
    """The logits after a token do not depend on whether it was prompt or sample."""
    model, tokens = load_ours(model_dir), some_tokens(40)
    whole = our_logits(model, tokens, 40)[-1]
    for prompt_len in (1, 16, 39):
        assert (our_logits(model, tokens, prompt_len)[-1] - whole).abs().max() <= TOLERANCE


def test_native_equals_reference(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = load_ours(model_dir), some_tokens(60)
    native = our_logits(model, tokens, 50)
    monkeypatch.setattr(Op, "pick", lambda self, device: "torch")
    assert (our_logits(model, tokens, 50, native=False) - native).abs().max() <= TOLERANCE


@pytest.mark.parametrize("cache", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("weights", ["float32", "bfloat16", "float16", "int8"])
def test_the_step_is_its_operations(model_dir: Path, weights: str, cache: str) -> None:
    """The native step gives the bits of its operations called one by one."""
    model, tokens = load_ours(model_dir, Precision(weights, cache)), some_tokens(150)
    want = our_logits(model, tokens, 140, native=False)
    assert torch.equal(our_logits(model, tokens, 140, native=True), want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_half_precision_files(tmp_path: Path, family: str, dtype: torch.dtype) -> None:
    """Nearer to transformers in float32 than transformers in the file's own dtype is."""
    write_tiny_model(tmp_path, family, dtype=dtype)
    tokens = some_tokens(50)
    exact = their_logits(load_theirs(tmp_path, torch.float32), tokens)[29:]
    their_difference = (their_logits(load_theirs(tmp_path, dtype), tokens)[29:] - exact).abs().max()
    difference = (our_logits(load_ours(tmp_path), tokens, 30) - exact).abs().max()
    assert difference <= TOLERANCE < their_difference


def test_sharded_files(tmp_path: Path) -> None:
    whole = write_tiny_model(tmp_path / "whole", "llama")
    sharded = write_tiny_model(tmp_path / "sharded", "llama", max_shard_size="64KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    tokens = some_tokens(20)
    assert torch.equal(
        our_logits(load_ours(whole), tokens, 20), our_logits(load_ours(sharded), tokens, 20)
    )
