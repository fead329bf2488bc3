"""Read config.json into the one vocabulary of `ModelConfig`; refuse what the engine cannot run.

Both the keys of transformers 4 (`rope_theta`, `rope_scaling`, `rotary_pct`, `torch_dtype`) and of
transformers 5 (`rope_parameters`, `dtype`) are read. An absent key has the default transformers
gives it, except the sizes of the model, which must be present.

Raises: ValueError naming the field, what it must be and what it was.
Source: the configuration classes of transformers 5.23, one per family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2engine.model.fields import Fields, read_fields, show
from t2engine.schema import ModelConfig, RopeScaling

DTYPES = ("float32", "bfloat16", "float16")
DEFAULT_ROPE_THETA = 10000.0
NEOX_ROTARY_FRACTION = 0.25
ABSENT_MISTRAL_WINDOW = 4096  # what transformers assumes when the key is not there
ROPE_KEYS = {
    "rope_type",
    "type",
    "rope_theta",
    "partial_rotary_factor",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
}
GATED_ACTIVATIONS = {"silu": "silu", "swish": "silu"}
GELU_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",  # the same formula, rounded differently
}


@dataclass(frozen=True)
class Family:
    """What a family fixes, and what it assumes of absent keys."""

    name: str
    features: Callable[[Fields], dict[str, Any]]
    kv_heads: int | None = None  # when num_key_value_heads is absent; None: as many as heads
    head_dim: int | None = None  # when head_dim is absent; None: hidden_size / heads


def read_config(model_dir: Path) -> ModelConfig:
    """The shape of the model in `model_dir`, from its config.json."""
    return parse_config(read_fields(Path(model_dir) / "config.json"))


def parse_config(fields: Fields) -> ModelConfig:
    family = find_family(fields)
    refuse_unsupported(fields)
    num_heads = fields.integer("num_attention_heads")
    num_kv_heads = num_heads
    if family.name != "gpt_neox":
        null_means_all = "num_key_value_heads" in fields.values or family.kv_heads is None
        default = num_heads if null_means_all else family.kv_heads
        num_kv_heads = fields.integer("num_key_value_heads", default)
    if num_heads % num_kv_heads:
        raise ValueError(
            f"{fields.source}: num_key_value_heads must divide num_attention_heads ({num_heads}),"
            f" got {num_kv_heads}"
        )
    head_dim = read_head_dim(fields, family, num_heads)
    rope = read_rope(fields, family, head_dim)
    return ModelConfig(
        family=family.name,
        vocab_size=fields.integer("vocab_size"),
        hidden_size=fields.integer("hidden_size"),
        intermediate_size=fields.integer("intermediate_size"),
        num_layers=fields.integer("num_hidden_layers"),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        max_context_len=fields.integer("max_position_embeddings"),
        tied_embeddings=fields.flag("tie_word_embeddings", False),
        dtype=read_dtype(fields),
        **rope,
        **family.features(fields),
    )


# ---- families --------------------------------------------------------------------------------


def gated_features(fields: Fields) -> dict[str, Any]:
    return {
        "norm": "rms",
        "norm_eps": fields.number("rms_norm_eps", 1e-6),
        "activation": fields.choice("hidden_act", GATED_ACTIVATIONS, "silu"),
        "gated_mlp": True,
    }


def llama_features(fields: Fields) -> dict[str, Any]:
    bias = fields.flag("attention_bias", False)
    mlp_bias = fields.flag("mlp_bias", False)
    biases = {"qkv_bias": bias, "output_bias": bias, "mlp_bias": mlp_bias}
    return gated_features(fields) | biases


def mistral_features(fields: Fields) -> dict[str, Any]:
    context_len = fields.integer("max_position_embeddings")
    absent = "sliding_window" not in fields.values
    if "sliding_window" in fields or (absent and context_len > ABSENT_MISTRAL_WINDOW):
        # An absent key means a window too, which a shorter context never reaches.
        raise fields.fail(
            "sliding_window", "null (sliding-window attention is not supported; absent means 4096)"
        )
    return gated_features(fields)


def qwen2_features(fields: Fields) -> dict[str, Any]:
    refuse_qwen_window(fields)
    return gated_features(fields) | {"qkv_bias": True}


def qwen3_features(fields: Fields) -> dict[str, Any]:
    refuse_qwen_window(fields)
    bias = fields.flag("attention_bias", False)
    return gated_features(fields) | {"qkv_bias": bias, "output_bias": bias, "qk_norm": True}


def gpt_neox_features(fields: Fields) -> dict[str, Any]:
    bias = fields.flag("attention_bias", True)
    return {
        "norm": "layer",
        "norm_eps": fields.number("layer_norm_eps", 1e-5),
        "activation": fields.choice("hidden_act", GELU_ACTIVATIONS, "gelu"),
        "gated_mlp": False,
        "parallel_residual": fields.flag("use_parallel_residual", True),
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": True,
    }


FAMILIES = {
    "LlamaForCausalLM": Family("llama", llama_features),
    "MistralForCausalLM": Family("mistral", mistral_features, kv_heads=8),
    "Qwen2ForCausalLM": Family("qwen2", qwen2_features, kv_heads=32),
    "Qwen3ForCausalLM": Family("qwen3", qwen3_features, kv_heads=32, head_dim=128),
    "GPTNeoXForCausalLM": Family("gpt_neox", gpt_neox_features),
}


def find_family(fields: Fields) -> Family:
    expected = f"[one of {', '.join(FAMILIES)}]"
    architectures = fields.values.get("architectures")
    if not isinstance(architectures, list) or len(architectures) != 1:
        raise fields.fail("architectures", expected)
    family = FAMILIES.get(architectures[0]) if isinstance(architectures[0], str) else None
    if family is None:
        raise fields.fail("architectures", expected)
    if fields.text("model_type", family.name) != family.name:
        raise fields.fail("model_type", f"{show(family.name)} for {architectures[0]}")
    return family


def refuse_unsupported(fields: Fields) -> None:
    if "quantization_config" in fields:
        raise fields.fail("quantization_config", "absent (quantized weights are not supported)")
    layer_types = fields.values.get("layer_types")
    if layer_types is None:
        return
    num_layers = fields.integer("num_hidden_layers")
    if not isinstance(layer_types, list) or len(layer_types) != num_layers:
        raise fields.fail("layer_types", f"a list of {num_layers} (num_hidden_layers) names")
    if any(layer_type != "full_attention" for layer_type in layer_types):
        raise fields.fail("layer_types", '"full_attention" in every layer')


def refuse_qwen_window(fields: Fields) -> None:
    if fields.flag("use_sliding_window", False):
        raise fields.fail("use_sliding_window", "false (sliding windows are not supported)")


# ---- parts -----------------------------------------------------------------------------------


def read_head_dim(fields: Fields, family: Family, num_heads: int) -> int:
    hidden_size = fields.integer("hidden_size")
    if ("head_dim" not in fields and family.head_dim is None) or family.name == "gpt_neox":
        if hidden_size % num_heads:
            raise fields.fail("hidden_size", f"a multiple of num_attention_heads ({num_heads})")
        return hidden_size // num_heads
    return fields.integer("head_dim", family.head_dim)


def read_dtype(fields: Fields) -> str:
    name = "dtype" if "dtype" in fields else "torch_dtype"
    words = {prefix + dtype: dtype for prefix in ("", "torch.") for dtype in DTYPES}
    return fields.choice(name, words, "float32")


def read_rope(fields: Fields, family: Family, head_dim: int) -> dict[str, Any]:
    """`rope_theta`, `rotary_dim` and `rope_scaling`, from either form of the file."""
    neox = family.name == "gpt_neox"
    rope = fields.table("rope_scaling" if fields.values.get("rope_scaling") else "rope_parameters")
    unknown = sorted(set(rope.values) - ROPE_KEYS)
    kind = rope.text("rope_type", rope.text("type", "default"))
    if kind not in ("default", "llama3"):
        name = "rope_type" if "rope_type" in rope else "type"
        raise rope.fail(name, "default or llama3 (no other RoPE scaling is supported)")
    if unknown:
        raise ValueError(f"{rope.source}: keys must be in {sorted(ROPE_KEYS)}, got {show(unknown)}")
    theta = fields.number("rotary_emb_base" if neox else "rope_theta", DEFAULT_ROPE_THETA)
    fraction = fields.number(
        "rotary_pct" if neox else "partial_rotary_factor", NEOX_ROTARY_FRACTION if neox else 1.0
    )
    fraction = rope.number("partial_rotary_factor", fraction)
    rotary_dim = int(head_dim * fraction) if fraction <= 1 else 0
    if rotary_dim < 2 or rotary_dim % 2 or (rotary_dim != head_dim and not neox):
        expected = "an even number of features from 2 to head_dim" if neox else "all of head_dim"
        raise ValueError(
            f"{fields.source}: the rotary part of a head must be {expected},"
            f" got {fraction:g} of head_dim {head_dim}"
        )
    scaling = read_rope_scaling(rope, fields) if kind == "llama3" else None
    return {
        "rope_theta": rope.number("rope_theta", theta),
        "rotary_dim": rotary_dim,
        "rope_scaling": scaling,
    }


def read_rope_scaling(rope: Fields, fields: Fields) -> RopeScaling:
    low = rope.number("low_freq_factor")
    if not rope.number("high_freq_factor") > low:
        raise rope.fail("high_freq_factor", f"greater than low_freq_factor ({low:g})")
    context_len = fields.integer("max_position_embeddings")
    return RopeScaling(
        factor=rope.number("factor"),
        low_freq_factor=low,
        high_freq_factor=rope.number("high_freq_factor"),
        original_context_len=rope.integer("original_max_position_embeddings", context_len),
    )
