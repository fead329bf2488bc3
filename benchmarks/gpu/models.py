"""The published shapes that are measured end to end, as Hugging Face directories of random weights.

transformers itself writes them, in bfloat16: configuration, weights and all. The vocabulary is made
up, as in benchmarks/peers/model.py. A model is written once and kept.

Source: the config.json of each model on the Hugging Face hub; "5M" is benchmarks/peers' own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.model import made_up_tokenizer, tokenizer_config, write_json
from t2engine.model.config import parse_config
from t2engine.model.fields import Fields
from t2engine.schema import ModelConfig

CACHE = Path("build/gpu-models")


def layout(
    family: str,
    sizes: tuple[int, int, int, int, int, int, int],
    rope: dict[str, Any],
    eps: float,
    *,
    tied: bool,
) -> dict[str, Any]:
    """sizes: layers, hidden, intermediate, query heads, key heads, head_dim, vocabulary."""
    layers, hidden, inner, heads, kv_heads, head_dim, vocab = sizes
    return {
        "architectures": [f"{family.capitalize()}ForCausalLM"],
        "model_type": family,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "vocab_size": vocab,
        "max_position_embeddings": 32768,
        "rope_parameters": rope,
        "rms_norm_eps": eps,
        "tie_word_embeddings": tied,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }


def plain_rope(theta: float) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": theta}


def llama3_rope(factor: float) -> dict[str, Any]:
    return {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


MODELS: dict[str, dict[str, Any]] = {
    "5M": layout("llama", (8, 256, 704, 4, 2, 64, 8192), plain_rope(1e4), 1e-5, tied=False),
    "Qwen2.5-0.5B": layout(
        "qwen2", (24, 896, 4864, 14, 2, 64, 151936), plain_rope(1e6), 1e-6, tied=True
    ),
    "Qwen3-0.6B": layout(
        "qwen3", (28, 1024, 3072, 16, 8, 128, 151936), plain_rope(1e6), 1e-6, tied=True
    ),
    "Llama-3.2-1B": layout(
        "llama", (16, 2048, 8192, 32, 8, 64, 128256), llama3_rope(32.0), 1e-5, tied=True
    ),
    "Llama-3.1-8B": layout(
        "llama", (32, 4096, 14336, 32, 8, 128, 128256), llama3_rope(8.0), 1e-5, tied=False
    ),
}


def model_config(name: str) -> ModelConfig:
    return parse_config(Fields(name, MODELS[name]))


def write_model(name: str, cache: Path = CACHE) -> Path:
    """The directory of the model, written if it is not there; its weights drawn from seed 0."""
    directory = cache / name
    done = directory / "tokenizer.json"
    if done.exists():  # written last
        return directory
    import transformers

    fields = dict(MODELS[name])
    config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(directory)
    write_json(directory / "tokenizer_config.json", tokenizer_config())
    partial = directory / "tokenizer.partial"
    made_up_tokenizer(fields["vocab_size"]).save(str(partial))
    os.replace(partial, done)
    return directory
