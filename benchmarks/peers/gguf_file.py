"""A model of model.py as llama.cpp reads it: one GGUF file, without a vocabulary.

llama.cpp turns neighbouring features of a query or key where Hugging Face turns the two halves of a
head, so the rows of those projections are reordered: [2, D / 2] -> [D / 2, 2] within each head.
Matrices are stored in the precision asked for, norms in float32.

Source: the GGUF specification (ggml-org/ggml, docs/gguf.md), general and llama keys.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

TENSORS = {  # of a layer: Hugging Face's name, llama.cpp's
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(model_dir: Path, precision: str) -> Path:
    """The file beside the model, written if it is not there. precision: f32, f16 or q8_0."""
    import gguf
    from gguf.quants import quantize
    from safetensors.numpy import load_file

    path = model_dir / f"model-{precision}.gguf"
    if path.exists():
        return path
    kind = {
        "f32": gguf.GGMLQuantizationType.F32,
        "f16": gguf.GGMLQuantizationType.F16,
        "q8_0": gguf.GGMLQuantizationType.Q8_0,
    }[precision]
    config = json.loads((model_dir / "config.json").read_text())
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    describe(writer, config)
    for name, tensor in load_file(model_dir / "model.safetensors").items():
        if tensor.ndim == 1:
            writer.add_tensor(renamed(name), tensor.astype(np.float32))
            continue
        if "q_proj" in name:
            tensor = pair_features(tensor, config["num_attention_heads"])
        elif "k_proj" in name:
            tensor = pair_features(tensor, config["num_key_value_heads"])
        writer.add_tensor(renamed(name), quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(partial, path)
    return path


def describe(writer, config: dict) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")


def renamed(name: str) -> str:
    outside = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in outside:
        return outside[name]
    index, _, part = name.removeprefix("model.layers.").partition(".")
    return f"blk.{index}.{TENSORS[part.removesuffix('.weight')]}.weight"


def pair_features(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """weight [num_heads * D, hidden], rows reordered within each head."""
    rows, columns = weight.shape
    halves = weight.reshape(num_heads, 2, rows // num_heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows, columns)
