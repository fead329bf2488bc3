from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from t2engine.metering import parameter_count
from t2engine.model.config import read_config
from t2engine.model.llama import Llama, build_optimizer, count_parameters, initialise
from t2engine.schema import ModelConfig
from tests.model.tiny import VOCAB_SIZE, write_tiny_model

SHAPES = {
    "tied": {},
    "deep": {"num_hidden_layers": 5, "num_attention_heads": 8},
    "one-kv-head": {"num_key_value_heads": 1, "head_dim": 32},
    "no-gqa": {"num_key_value_heads": 4, "intermediate_size": 80},
}


@pytest.fixture(scope="module", params=SHAPES)
def written(request, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp(request.param)
    return write_tiny_model(directory, "llama", tie_word_embeddings=True, **SHAPES[request.param])


@pytest.fixture(scope="module")
def config(written: Path) -> ModelConfig:
    return read_config(written)


def draw(rows: int, tokens: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(VOCAB_SIZE, (rows, tokens), generator=generator)


def test_logits_and_gradients_are_those_of_transformers(written: Path, config: ModelConfig):
    theirs = transformers.AutoModelForCausalLM.from_pretrained(written)
    ours = Llama(config)
    ours.load_state_dict(load_file(written / "model.safetensors"))
    token_ids = draw(5, 40)
    want, got = theirs(token_ids).logits, ours(token_ids)
    assert want.abs().max() > 1
    assert torch.allclose(got, want, atol=1e-4, rtol=0)
    for logits in (want, got):
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), token_ids.flatten()).backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters()}
    assert gradients.keys() == {name for name, _ in ours.named_parameters()}
    for name, weight in ours.named_parameters():
        assert torch.allclose(weight.grad, gradients[name], atol=1e-5, rtol=1e-3), name


def test_parameter_count_is_that_of_the_model(config: ModelConfig):
    assert parameter_count(config) == count_parameters(initialise(config, seed=0))


def test_a_row_does_not_look_ahead_nor_at_its_neighbours(config: ModelConfig):
    model = initialise(config, seed=0)
    token_ids = draw(4, 20)
    changed = token_ids.clone()
    changed[:2, 12:] = 0
    changed[3] = 5
    with torch.no_grad():
        before, after = model(token_ids), model(changed)
    assert torch.allclose(before[:2, :12], after[:2, :12], atol=1e-6)
    assert torch.allclose(before[2], after[2], atol=1e-6)
    assert not torch.allclose(before[:2, 12:], after[:2, 12:], atol=1e-2)


def test_only_matrices_decay(config: ModelConfig):
    model = initialise(config, seed=0)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = build_optimizer(model, betas=(0.9, 0.98), weight_decay=0.5)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        share = 1 - 0.1 * 0.5 if weight.dim() == 2 else 1.0
        assert torch.allclose(weight, share * before[name]), name


@pytest.mark.parametrize(
    "change",
    [{"tied_embeddings": False}, {"qkv_bias": True}, {"rotary_dim": 4}, {"norm": "layer"}],
    ids=str,
)
def test_another_family_is_refused(config: ModelConfig, change: dict):
    with pytest.raises(ValueError, match=f"must have {next(iter(change))} = "):
        Llama(replace(config, **change))
