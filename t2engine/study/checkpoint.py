"""Write and read a trained model as a Hugging Face directory.

`config.json` in the keys that transformers 4 and 5 both read, `model.safetensors` in float32
without a copy of the tied embedding, `tokenizer.json` with `tokenizer_config.json`, and
`generation_config.json`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from t2engine.model.config import read_config
from t2engine.model.llama import Llama
from t2engine.schema import ModelConfig
from t2engine.study.tokenizer import BOS, BOS_ID, EOS, EOS_ID, PAD, PAD_ID, build_tokenizer

SPECIAL_IDS = {"bos_token_id": BOS_ID, "eos_token_id": EOS_ID, "pad_token_id": PAD_ID}


def save_model(directory: Path, model: Llama) -> None:
    """Write the files of a model into an existing directory."""
    write_json(directory / "config.json", config_fields(model.config))
    write_json(directory / "generation_config.json", {"do_sample": True, **SPECIAL_IDS})
    tokenizer_fields = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.config.max_context_len,
        "clean_up_tokenization_spaces": False,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
    }
    write_json(directory / "tokenizer_config.json", tokenizer_fields)
    build_tokenizer().save(str(directory / "tokenizer.json"))
    weights = directory / "model.safetensors"
    save_file(model.state_dict(), weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors makes a file that only its owner reads


def load_model(directory: Path) -> Llama:
    model = Llama(read_config(directory))
    model.load_state_dict(load_file(directory / "model.safetensors"))
    return model.eval()


def config_fields(config: ModelConfig) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_context_len,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": config.tied_embeddings,
        "torch_dtype": config.dtype,
        **SPECIAL_IDS,
    }


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """A new directory to fill, which becomes `path` at the end, or vanishes if the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(path)
    finally:
        if partial.exists():
            shutil.rmtree(partial)
