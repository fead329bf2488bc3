"""The models that every engine runs: Llama layouts of random weights, as Hugging Face directories.

    python -m benchmarks.peers.model [--cache build/peers] [small 5M 1M]

Weights are normal with standard deviation 0.02 and norms are one, drawn from seed 0: speed does not
depend on what they say. The vocabulary is made up, for engines that insist on a tokenizer. A model
is written once and kept.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

CACHE = Path("build/peers")
SPECIAL_TOKENS = ("<s>", "</s>", "<pad>")
SPREAD = 0.02  # standard deviation of the weights, transformers' initializer_range


@dataclass(frozen=True)
class Layout:
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int


LAYOUTS = {
    "small": Layout(16, 768, 12, 4, 64, 2048, 32000),  # 150M parameters
    "5M": Layout(8, 256, 4, 2, 64, 704, 8192),
    "1M": Layout(4, 128, 4, 2, 32, 352, 1024),
}


def write_model(name: str, cache: Path = CACHE) -> Path:
    """The directory of the model, written if it is not there. Raises: ValueError."""
    if name not in LAYOUTS:
        raise ValueError(f"model must be one of {', '.join(LAYOUTS)}, got {name!r}")
    layout, directory = LAYOUTS[name], cache / name
    config = directory / "config.json"
    if config.exists():  # written last
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    save_file(random_weights(layout), directory / "model.safetensors", {"format": "pt"})
    made_up_tokenizer(layout.vocab_size).save(str(directory / "tokenizer.json"))
    write_json(directory / "tokenizer_config.json", tokenizer_config())
    write_json(directory / "generation_config.json", {"bos_token_id": 0, "eos_token_id": 1})
    partial = config.with_suffix(".partial")
    write_json(partial, llama_config(layout))
    os.replace(partial, config)
    return directory


def random_weights(layout: Layout) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden, inner = layout.hidden_size, layout.intermediate_size
    query_width = layout.num_heads * layout.head_dim
    key_width = layout.num_kv_heads * layout.head_dim

    def matrix(rows: int, columns: int) -> torch.Tensor:
        return SPREAD * torch.randn(rows, columns, generator=generator)

    weights = {"model.embed_tokens.weight": matrix(layout.vocab_size, hidden)}
    for index in range(layout.num_layers):
        layer = {
            "input_layernorm": torch.ones(hidden),
            "self_attn.q_proj": matrix(query_width, hidden),
            "self_attn.k_proj": matrix(key_width, hidden),
            "self_attn.v_proj": matrix(key_width, hidden),
            "self_attn.o_proj": matrix(hidden, query_width),
            "post_attention_layernorm": torch.ones(hidden),
            "mlp.gate_proj": matrix(inner, hidden),
            "mlp.up_proj": matrix(inner, hidden),
            "mlp.down_proj": matrix(hidden, inner),
        }
        weights |= {f"model.layers.{index}.{part}.weight": w for part, w in layer.items()}
    weights["model.norm.weight"] = torch.ones(hidden)
    weights["lm_head.weight"] = matrix(layout.vocab_size, hidden)
    return weights


def llama_config(layout: Layout) -> dict[str, object]:
    """In the form of transformers 4, which every engine reads."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": layout.vocab_size,
        "hidden_size": layout.hidden_size,
        "intermediate_size": layout.intermediate_size,
        "num_hidden_layers": layout.num_layers,
        "num_attention_heads": layout.num_heads,
        "num_key_value_heads": layout.num_kv_heads,
        "head_dim": layout.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }


def made_up_tokenizer(vocab_size: int) -> Tokenizer:
    """Bytes, and tokens that nothing merges into."""
    tokens = [*SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens += [f"<extra_{index}>" for index in range(vocab_size - len(tokens))]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    }


def write_json(path: Path, fields: dict[str, object]) -> None:
    path.write_text(json.dumps(fields, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=list(LAYOUTS))
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    for name in options.models:
        print(write_model(name, options.cache))


if __name__ == "__main__":
    main()
