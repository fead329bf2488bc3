"""Small random-weight checkpoints of every family, written by transformers itself.

`write_tiny_model` is deterministic in its arguments. The weights are spread so that logits have a
standard deviation of about 2: the initial 0.02 of transformers would leave them nearly equal.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

VOCAB_SIZE = 320
SPECIAL_TOKENS = ("<s>", "</s>", "<pad>")
BOS, EOS, PAD = range(3)

SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 1024,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
}
GQA = {"num_key_value_heads": 2}
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM, GQA),
    "mistral": (
        transformers.MistralConfig,
        transformers.MistralForCausalLM,
        {**GQA, "sliding_window": None},
    ),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM, GQA),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, {**GQA, "head_dim": 24}),
    "gpt_neox": (transformers.GPTNeoXConfig, transformers.GPTNeoXForCausalLM, {}),
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}

# Name -> (family, overrides): every feature of the families read, for tests of logits.
TINY_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"num_hidden_layers": 3}),
    "llama-tied": ("llama", {"tie_word_embeddings": True}),
    "llama-llama3-rope": ("llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-one-kv-head": ("llama", {"num_key_value_heads": 1, "head_dim": 32}),
    "llama-no-gqa": ("llama", {"num_key_value_heads": 4}),
    "mistral": ("mistral", {"rms_norm_eps": 1e-5}),
    "qwen2": ("qwen2", {}),
    "qwen2-tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {}),
    "qwen3-tied-biased": ("qwen3", {"tie_word_embeddings": True, "attention_bias": True}),
    "gpt_neox": ("gpt_neox", {"num_hidden_layers": 3}),
    "gpt_neox-sequential": ("gpt_neox", {"use_parallel_residual": False}),
    "gpt_neox-unbiased-tanh": (
        "gpt_neox",
        {"attention_bias": False, "hidden_act": "gelu_new", "rotary_pct": 0.5},
    ),
    "gpt_neox-tied-full-rotary": ("gpt_neox", {"tie_word_embeddings": True, "rotary_pct": 1.0}),
}


def write_tiny_model(
    directory: Path,
    family: str,
    *,
    dtype: torch.dtype = torch.float32,
    max_shard_size: str | None = None,
    tokenizer: bool = True,
    seed: int = 0,
    **overrides: Any,
) -> Path:
    """Write config, weights, generation config and tokenizer; returns `directory`.

    `overrides` are keyword arguments of the family's transformers configuration. A
    `max_shard_size` such as "64KB" gives several files and an index.
    """
    config_class, model_class, defaults = FAMILIES[family]
    config = config_class(**{**SHAPE, **defaults, **overrides})
    model = model_class(config)
    spread_weights(model, seed)
    transformers.logging.disable_progress_bar()
    shards = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
    model.to(dtype).save_pretrained(directory, **shards)
    if tokenizer:
        add_bos = family in ("llama", "mistral")
        byte_level_tokenizer(add_bos).save(str(Path(directory) / "tokenizer.json"))
    return Path(directory)


@torch.no_grad()
def spread_weights(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "embed_tokens" in name or "embed_in" in name:
            value = 2 / math.sqrt(parameter.shape[1]) * noise  # tied: logits of std 2
        elif parameter.dim() == 2:
            gain = 2.0 if "lm_head" in name or "embed_out" in name else 1.8
            value = gain / math.sqrt(parameter.shape[1]) * noise
        elif name.endswith("bias"):
            value = 0.1 * noise
        else:
            value = 1 + 0.2 * noise
        parameter.copy_(value)


def byte_level_tokenizer(add_bos: bool) -> Tokenizer:
    """Byte-level BPE of `VOCAB_SIZE` tokens: specials, the 256 bytes, and merges written out here.

    Written out because the trainer may break ties differently from run to run.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL_TOKENS, *alphabet]
    merges = []
    for word in ("Ġthe", "Ġand", "Ġof", "ing", "tion", "Ġanswer", "Ġquestion", "Ġnumber", "er"):
        merged = word[0]
        for character in word[1:]:
            if merged + character not in tokens:
                merges.append((merged, character))
                tokens.append(merged + character)
            merged += character
    tokens += [f"<extra_{i}>" for i in range(VOCAB_SIZE - len(tokens))]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)]
        )
    return tokenizer


def rewrite_config(directory: Path, **changes: Any) -> None:
    """Set keys of config.json; a value of None removes the key."""
    path = Path(directory) / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        config.pop(key, None)
        if value is not None:
            config[key] = value
    path.write_text(json.dumps(config, indent=2))


def write_old_config_form(directory: Path) -> None:
    """Rewrite config.json in the form of transformers 4 (`rope_theta`, `torch_dtype`, ...)."""
    path = Path(directory) / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    theta = rope.pop("rope_theta")
    config["torch_dtype"] = config.pop("dtype")
    if config["model_type"] == "gpt_neox":
        config["rotary_emb_base"] = theta
        config["rotary_pct"] = rope.pop("partial_rotary_factor")
    else:
        config["rope_theta"] = theta
    config["rope_scaling"] = None if rope == {"rope_type": "default"} else rope
    path.write_text(json.dumps(config, indent=2))
