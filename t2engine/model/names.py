"""One vocabulary of tensors for every family, and where each is found in a checkpoint.

    embed                       [vocab_size, hidden_size]
    layers.i.attn_norm.weight   [hidden_size]                       .bias with LayerNorm
    layers.i.qkv.weight         [(H + 2 H_kv) D, hidden_size]       rows of q, then k, then v
    layers.i.q_norm, .k_norm    [D]                                 with qk_norm
    layers.i.out.weight         [hidden_size, H D]
    layers.i.mlp_norm.weight    [hidden_size]                       .bias with LayerNorm
    layers.i.up.weight          [2 intermediate_size, hidden_size]  rows of gate, then of up;
                                [intermediate_size, hidden_size]    without a gate
    layers.i.down.weight        [hidden_size, intermediate_size]
    final_norm.weight           [hidden_size]                       .bias with LayerNorm
    lm_head                     [vocab_size, hidden_size]           the embedding when tied

The projections have a `.bias` where the config says so. The rotary layout is the checkpoints' own,
halves apart (feature j turns with feature j + rotary_dim / 2), the same in all five families.

Shapes: H num_heads, H_kv num_kv_heads, D head_dim.
Source: the parameter names of transformers 5.23; GPT-NeoX stores its qkv rows as [H, 3, D].
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from t2engine.schema import ModelConfig

# Buffers that older versions of transformers stored; they are computed, never read.
OLD_BUFFERS = re.compile(
    r".*\.rotary_emb\.inv_freq|gpt_neox\.layers\.\d+\.attention\.(bias|masked_bias)"
)


@dataclass(frozen=True)
class Recipe:
    """One tensor: the stored tensors whose rows, one after another, make it up."""

    name: str
    sources: tuple[tuple[str, tuple[int, ...]], ...]  # stored name, stored shape
    interleaved_heads: int = 0  # H where the stored rows are [H, 3, D] instead of [3, H, D]

    @property
    def shape(self) -> tuple[int, ...]:
        rows = sum(shape[0] for _, shape in self.sources)
        return (rows, *self.sources[0][1][1:])

    def segments(self) -> Iterator[tuple[str, int, int]]:
        """Stored name, first stored row and number of rows, in the order of our rows."""
        if not self.interleaved_heads:
            yield from ((source, 0, shape[0]) for source, shape in self.sources)
            return
        source = self.sources[0][0]
        head_dim = self.shape[0] // (3 * self.interleaved_heads)
        for part in range(3):  # q, k, v
            for head in range(self.interleaved_heads):
                yield source, (head * 3 + part) * head_dim, head_dim


@dataclass(frozen=True)
class Names:
    """How a family names its modules."""

    embed: str
    lm_head: str
    final_norm: str
    layers: str
    attn_norm: str
    qkv: tuple[str, ...]
    out: str
    mlp_norm: str
    up: tuple[str, ...]
    down: str


LLAMA_NAMES = Names(
    embed="model.embed_tokens.weight",
    lm_head="lm_head.weight",
    final_norm="model.norm",
    layers="model.layers",
    attn_norm="input_layernorm",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    out="self_attn.o_proj",
    mlp_norm="post_attention_layernorm",
    up=("mlp.gate_proj", "mlp.up_proj"),
    down="mlp.down_proj",
)
NEOX_NAMES = Names(
    embed="gpt_neox.embed_in.weight",
    lm_head="embed_out.weight",
    final_norm="gpt_neox.final_layer_norm",
    layers="gpt_neox.layers",
    attn_norm="input_layernorm",
    qkv=("attention.query_key_value",),
    out="attention.dense",
    mlp_norm="post_attention_layernorm",
    up=("mlp.dense_h_to_4h",),
    down="mlp.dense_4h_to_h",
)


def family_names(config: ModelConfig) -> Names:
    return NEOX_NAMES if config.family == "gpt_neox" else LLAMA_NAMES


def recipes(config: ModelConfig) -> Iterator[Recipe]:
    """Every tensor of the model, in the order of a forward pass."""
    names = family_names(config)
    table = (config.vocab_size, config.hidden_size)
    yield Recipe("embed", ((names.embed, table),))
    for layer in range(config.num_layers):
        yield from layer_recipes(config, names, layer)
    yield from norm_recipes(config, "final_norm", names.final_norm)
    yield Recipe("lm_head", ((names.embed if config.tied_embeddings else names.lm_head, table),))


def layer_recipes(config: ModelConfig, names: Names, layer: int) -> Iterator[Recipe]:
    ours, theirs = f"layers.{layer}", f"{names.layers}.{layer}"
    hidden, head_dim = config.hidden_size, config.head_dim
    q_rows, kv_rows = config.num_heads * head_dim, config.num_kv_heads * head_dim

    def linear(name: str, modules: dict[str, int], columns: int, bias: bool) -> Iterator[Recipe]:
        """A projection from `columns` features; modules are stored names with their rows."""
        heads = config.num_heads if modules.keys() == {"attention.query_key_value"} else 0
        rows = {f"{theirs}.{module}": count for module, count in modules.items()}
        weights = tuple((f"{module}.weight", (n, columns)) for module, n in rows.items())
        yield Recipe(f"{ours}.{name}.weight", weights, heads)
        if bias:
            biases = tuple((f"{module}.bias", (n,)) for module, n in rows.items())
            yield Recipe(f"{ours}.{name}.bias", biases, heads)

    qkv_rows = (q_rows, kv_rows, kv_rows) if len(names.qkv) == 3 else (q_rows + 2 * kv_rows,)
    yield from norm_recipes(config, f"{ours}.attn_norm", f"{theirs}.{names.attn_norm}")
    yield from linear("qkv", dict(zip(names.qkv, qkv_rows, strict=True)), hidden, config.qkv_bias)
    if config.qk_norm:
        for name in ("q_norm", "k_norm"):
            source = (f"{theirs}.self_attn.{name}.weight", (head_dim,))
            yield Recipe(f"{ours}.{name}", (source,))
    yield from linear("out", {names.out: hidden}, q_rows, config.output_bias)
    yield from norm_recipes(config, f"{ours}.mlp_norm", f"{theirs}.{names.mlp_norm}")
    up_rows = dict.fromkeys(names.up, config.intermediate_size)
    yield from linear("up", up_rows, hidden, config.mlp_bias)
    yield from linear("down", {names.down: hidden}, config.intermediate_size, config.mlp_bias)


def norm_recipes(config: ModelConfig, name: str, module: str) -> Iterator[Recipe]:
    for part in ("weight", "bias") if config.norm == "layer" else ("weight",):
        yield Recipe(f"{name}.{part}", ((f"{module}.{part}", (config.hidden_size,)),))
