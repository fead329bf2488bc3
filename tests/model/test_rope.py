from __future__ import annotations

import dataclasses

import pytest
import torch
import transformers

from t2engine.model.config import read_config
from t2engine.model.rope import inverse_frequencies, rotary_table
from t2engine.schema import ModelConfig, RopeScaling
from tests.model.tiny import FAMILIES, LLAMA3_ROPE, TINY_MODELS, write_tiny_model

PLAIN = ModelConfig(
    family="llama",
    vocab_size=96,
    hidden_size=4096,
    intermediate_size=96,
    num_layers=1,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    max_context_len=131072,
    norm_eps=1e-5,
    rope_theta=500000.0,
    rotary_dim=128,
)


@pytest.mark.parametrize("name", ["llama", "llama-llama3-rope", "gpt_neox", "qwen3"])
def test_the_table_is_that_of_transformers(tmp_path, name):
    family, overrides = TINY_MODELS[name]
    write_tiny_model(tmp_path, family, tokenizer=False, **overrides)
    config = read_config(tmp_path)
    oracle = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).base_model.rotary_emb
    num_positions = 1024
    cos, sin = rotary_table(config, num_positions)
    want_cos, want_sin = oracle(torch.zeros(1), torch.arange(num_positions)[None])
    half = config.rotary_dim // 2
    assert torch.equal(cos, want_cos[0, :, :half])
    assert torch.equal(sin, want_sin[0, :, :half])
    assert torch.equal(cos, want_cos[0, :, half:])
    assert cos.shape == (num_positions, half)


def test_llama3_scaling_at_its_published_size():
    """Llama 3.1: wavelengths above 8192 are stretched 8 times, those below 2048 are left alone."""
    config_class = FAMILIES["llama"][0]
    rope = {**LLAMA3_ROPE, "original_max_position_embeddings": 8192}
    oracle_config = config_class(head_dim=128, max_position_embeddings=131072, rope_parameters=rope)
    oracle = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(oracle_config)
    config = dataclasses.replace(PLAIN, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 8192))
    scaled, plain = inverse_frequencies(config), inverse_frequencies(PLAIN)
    assert torch.equal(scaled, oracle.inv_freq)
    ratio = plain / scaled
    assert ratio[0] == 1
    assert ratio[-1] == 8
    assert torch.all(ratio.diff() >= -1e-6)


def test_no_positions_and_position_zero():
    assert rotary_table(PLAIN, 0)[0].shape == (0, 64)
    cos, sin = rotary_table(PLAIN, 1)
    assert torch.all(cos == 1)
    assert torch.all(sin == 0)
