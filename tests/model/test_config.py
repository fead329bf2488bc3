from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from t2engine.model.config import read_config
from t2engine.schema import ModelConfig, RopeScaling
from tests.model.tiny import (
    FAMILIES,
    LLAMA3_ROPE,
    TINY_MODELS,
    rewrite_config,
    write_old_config_form,
)

SIZES = {"vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3}
HEADS = {"num_attention_heads": 4, "max_position_embeddings": 512}


def write_config(directory: Path, family: str, **overrides: Any) -> Path:
    """config.json as transformers writes it, without weights."""
    config_class, model_class, defaults = FAMILIES[family]
    config = config_class(**{**SIZES, **HEADS, **defaults, **overrides})
    config.architectures = [model_class.__name__]
    config.dtype = "bfloat16"
    config.save_pretrained(directory)
    return directory


def write_minimal_config(directory: Path, family: str, **changes: Any) -> Path:
    """Only the keys that must be present; a change to None writes null."""
    model_class = FAMILIES[family][1]
    config = {"architectures": [model_class.__name__], **SIZES, **HEADS, **changes}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def test_llama_in_full(tmp_path):
    write_config(tmp_path, "llama", attention_bias=True, rope_parameters=LLAMA3_ROPE)
    assert read_config(tmp_path) == ModelConfig(
        family="llama",
        vocab_size=96,
        hidden_size=64,
        intermediate_size=96,
        num_layers=3,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        max_context_len=512,
        norm_eps=1e-6,
        rope_theta=500000.0,
        rotary_dim=16,
        rope_scaling=RopeScaling(8.0, 1.0, 4.0, 256),
        qkv_bias=True,
        output_bias=True,
        dtype="bfloat16",
    )


def test_gpt_neox_in_full(tmp_path):
    write_config(tmp_path, "gpt_neox", tie_word_embeddings=True, hidden_act="gelu_fast")
    assert read_config(tmp_path) == ModelConfig(
        family="gpt_neox",
        vocab_size=96,
        hidden_size=64,
        intermediate_size=96,
        num_layers=3,
        num_heads=4,
        num_kv_heads=4,
        head_dim=16,
        max_context_len=512,
        norm_eps=1e-5,
        rope_theta=10000.0,
        rotary_dim=4,
        norm="layer",
        activation="gelu_tanh",
        gated_mlp=False,
        parallel_residual=True,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        tied_embeddings=True,
        dtype="bfloat16",
    )


@pytest.mark.parametrize(
    ("family", "flags"),
    [
        ("llama", (False, False, False, False)),
        ("mistral", (False, False, False, False)),
        ("qwen2", (True, False, False, False)),
        ("qwen3", (False, False, False, True)),
        ("gpt_neox", (True, True, True, False)),
    ],
)
def test_each_family_has_its_own_biases_and_norms(tmp_path, family, flags):
    config = read_config(write_config(tmp_path, family))
    assert config.family == family
    assert flags == (config.qkv_bias, config.output_bias, config.mlp_bias, config.qk_norm)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_both_forms_say_the_same(tmp_path, name):
    family, overrides = TINY_MODELS[name]
    new = read_config(write_config(tmp_path, family, **overrides))
    write_old_config_form(tmp_path)
    assert "rope_parameters" not in json.loads((tmp_path / "config.json").read_text())
    assert read_config(tmp_path) == new


@pytest.mark.parametrize("family", FAMILIES)
def test_absent_keys_have_the_defaults_of_transformers(tmp_path, family):
    heads = 4 if family in ("llama", "gpt_neox") else 64
    write_minimal_config(tmp_path, family, hidden_size=512, num_attention_heads=heads)
    config = read_config(tmp_path)
    oracle = FAMILIES[family][0](
        **{**SIZES, **HEADS, "hidden_size": 512} | {"num_attention_heads": heads}
    )
    assert config.num_kv_heads == getattr(oracle, "num_key_value_heads", heads)
    assert config.head_dim == (getattr(oracle, "head_dim", None) or 512 // heads)
    assert config.rope_theta == oracle.rope_parameters["rope_theta"]
    fraction = oracle.rope_parameters.get("partial_rotary_factor", 1.0)
    assert config.rotary_dim == config.head_dim * fraction
    assert config.norm_eps == getattr(oracle, "rms_norm_eps", getattr(oracle, "layer_norm_eps", 0))
    assert config.tied_embeddings == oracle.tie_word_embeddings
    assert config.activation == oracle.hidden_act
    assert config.dtype == "float32"


AS_PUBLISHED = {
    "a Pythia, written by transformers 4.24": (
        '{"architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0, "eos_token_id": 0,'
        '"hidden_act": "gelu", "hidden_size": 512, "initializer_range": 0.02,'
        '"intermediate_size": 2048, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048,'
        '"model_type": "gpt_neox", "num_attention_heads": 8, "num_hidden_layers": 6,'
        '"rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": false,'
        '"torch_dtype": "float16", "use_parallel_residual": true, "vocab_size": 50304}',
        {"rotary_dim": 16, "qkv_bias": True, "parallel_residual": True, "dtype": "float16"},
    ),
    "a small Llama 3.2": (
        '{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "head_dim": 64,'
        '"eos_token_id": [128001, 128008], "hidden_act": "silu", "hidden_size": 2048,'
        '"intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,'
        '"model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,'
        '"num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,'
        '"rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,'
        '"original_max_position_embeddings": 8192, "rope_type": "llama3"},'
        '"rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",'
        '"use_cache": true, "vocab_size": 128256}',
        {"rope_scaling": RopeScaling(32.0, 1.0, 4.0, 8192), "tied_embeddings": True},
    ),
    "a small Qwen2.5, its window switched off": (
        '{"architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 896,'
        '"intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,'
        '"model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24,'
        '"num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,'
        '"sliding_window": 32768, "tie_word_embeddings": true, "torch_dtype": "bfloat16",'
        '"use_mrope": false, "use_sliding_window": false, "vocab_size": 151936}',
        {"head_dim": 64, "qkv_bias": True, "output_bias": False, "rope_theta": 1e6},
    ),
}


@pytest.mark.parametrize(("text", "facts"), AS_PUBLISHED.values(), ids=AS_PUBLISHED.keys())
def test_configs_as_they_are_published(tmp_path, text, facts):
    (tmp_path / "config.json").write_text(text)
    config = read_config(tmp_path)
    assert {name: getattr(config, name) for name in facts} == facts


def test_a_null_kv_head_count_means_all_heads(tmp_path):
    write_minimal_config(tmp_path, "mistral", num_key_value_heads=None)
    assert read_config(tmp_path).num_kv_heads == 4


def test_rope_type_under_its_oldest_name(tmp_path):
    scaling = {key: value for key, value in LLAMA3_ROPE.items() if key != "rope_type"}
    write_minimal_config(tmp_path, "llama", rope_scaling={"type": "llama3", **scaling})
    assert read_config(tmp_path).rope_scaling == RopeScaling(8.0, 1.0, 4.0, 256)


BAD = {
    "no architecture": ("llama", {"architectures": None}, "architectures"),
    "another architecture": ("llama", {"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
    "another head": ("llama", {"architectures": ["LlamaForSequenceClassification"]}, "Sequence"),
    "an unhashable name": ("llama", {"architectures": [{}]}, "architectures"),
    "another model type": ("llama", {"model_type": "gemma"}, "model_type"),
    "a window": ("mistral", {"sliding_window": 4096}, "sliding_window.*4096"),
    "an unstated window": ("mistral", {"max_position_embeddings": 8192}, "sliding_window"),
    "a qwen2 window": ("qwen2", {"use_sliding_window": True}, "use_sliding_window.*false.*true"),
    "a qwen3 window": ("qwen3", {"use_sliding_window": True}, "use_sliding_window"),
    "window layers": (
        "qwen3",
        {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
        "layer_types.*sliding_attention",
    ),
    "few layer types": ("qwen3", {"layer_types": ["full_attention"]}, "layer_types.*3"),
    "an activation": ("llama", {"hidden_act": "relu"}, "hidden_act.*silu.*relu"),
    "a neox activation": ("gpt_neox", {"hidden_act": "relu"}, "hidden_act.*gelu.*relu"),
    "quantized": ("llama", {"quantization_config": {"bits": 4}}, "quantization_config"),
    "yarn": ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 2}}, "rope_type.*yarn"),
    "linear": ("llama", {"rope_scaling": {"type": "linear", "factor": 2}}, "type.*linear"),
    "half a llama3": ("llama", {"rope_scaling": {"rope_type": "llama3"}}, "factor.*nothing"),
    "crossed llama3": (
        "llama",
        {"rope_parameters": {**LLAMA3_ROPE, "low_freq_factor": 4}},
        "high_freq_factor.*greater.*4",
    ),
    "nested rope": ("llama", {"rope_parameters": {"full_attention": {}}}, "full_attention"),
    "partial llama": ("llama", {"partial_rotary_factor": 0.5}, "rotary part.*all of head_dim.*0.5"),
    "odd rotary": ("gpt_neox", {"rotary_pct": 0.2}, "even number"),
    "too much rotary": ("gpt_neox", {"rotary_pct": 1.5}, "even number"),
    "odd head": ("llama", {"head_dim": 15}, "rotary part"),
    "indivisible hidden": ("llama", {"hidden_size": 66}, "hidden_size.*multiple.*4.*66"),
    "indivisible heads": ("llama", {"num_key_value_heads": 3}, r"num_key_value_heads.*\(4\).*3"),
    "zero layers": ("llama", {"num_hidden_layers": 0}, "num_hidden_layers.*0"),
    "negative vocab": ("llama", {"vocab_size": -1}, "vocab_size.*-1"),
    "huge head": ("llama", {"head_dim": 10**400}, "head_dim"),
    "huge theta": ("llama", {"rope_theta": 10**400}, "rope_theta"),
    "infinite theta": ("llama", {"rope_theta": float("inf")}, "rope_theta.*Infinity"),
    "fractional size": ("llama", {"hidden_size": 64.5}, "hidden_size.*64.5"),
    "true as a size": ("llama", {"hidden_size": True}, "hidden_size.*true"),
    "text as a size": ("llama", {"hidden_size": "64"}, 'hidden_size.*"64"'),
    "number as a flag": ("llama", {"tie_word_embeddings": 1}, "tie_word_embeddings.*1"),
    "zero eps": ("llama", {"rms_norm_eps": 0}, "rms_norm_eps.*0"),
    "a dtype": ("llama", {"torch_dtype": "int8"}, "torch_dtype.*float16.*int8"),
}


@pytest.mark.parametrize(("family", "changes", "message"), BAD.values(), ids=BAD.keys())
def test_refused_by_name(tmp_path, family, changes, message):
    write_minimal_config(tmp_path, family, **{"num_key_value_heads": 4, **changes})
    with pytest.raises(ValueError, match=message) as error:
        read_config(tmp_path)
    assert "config.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", [*SIZES, *HEADS, "architectures"])
def test_a_missing_size_is_named(tmp_path, field):
    write_minimal_config(tmp_path, "llama", num_key_value_heads=4)
    rewrite_config(tmp_path, **{field: None})
    with pytest.raises(ValueError, match=f"{field} must be .*, got nothing"):
        read_config(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json: must be a JSON object"):
        read_config(tmp_path)


def test_no_file_at_all(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json: must be a readable file"):
        read_config(tmp_path)


def test_random_damage_is_read_or_refused(tmp_path):
    """Truncations, bit flips and wild values give a config or a ValueError of one line."""
    write_config(tmp_path, "llama", rope_parameters=LLAMA3_ROPE)
    good = (tmp_path / "config.json").read_bytes()
    values = json.loads(good)
    wild = [None, True, -1, 0, 2**63, 10**400, 0.5, 1e308, "", "x\n", [], [[]], {}, {"a": []}]
    rng = random.Random(0)
    refused = accepted = 0
    for trial in range(600):
        damaged = bytearray(good)
        if trial % 3 == 0:
            damaged = damaged[: rng.randrange(len(good))]
        elif trial % 3 == 1:
            for _ in range(rng.randint(1, 4)):
                damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        else:
            key = rng.choice(sorted(values))
            damaged = bytearray(json.dumps({**values, key: rng.choice(wild)}).encode())
        (tmp_path / "config.json").write_bytes(damaged)
        try:
            read_config(tmp_path)
        except ValueError as error:
            refused += "\n" not in str(error)
        else:
            accepted += 1
    assert refused + accepted == 600
    assert min(refused, accepted) > 50
