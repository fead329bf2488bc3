"""The decoder-only transformer of every family read, once, over t2engine.ops.

    x = embed(tokens)
    x = x + out(attend(q, k, v));  x = x + down(act(up(norm(x))))      for each layer
    logits = lm_head(norm(x))

With a parallel residual (GPT-NeoX) both branches read the layer's input. How queries meet keys is
the caller's: `attend(layer, q, k, v)` stores the new keys and returns the attention's output, so
prefill and decode are one description.

Shapes: tokens, positions [T]; q [T, H, D]; k, v [T, H_kv, D]; hidden [T, hidden_size];
        logits [T, vocab_size].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from t2engine import ops
from t2engine.model.rope import inverse_frequencies, rotary_rows
from t2engine.model.weights import Affine, Weights, mixing_block
from t2engine.ops import PackedWeight
from t2engine.schema import FLOAT32, ModelConfig, Precision

ROTARY_BLOCK = 1024  # positions
WEIGHT_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}
EMBED_DTYPES = {**WEIGHT_DTYPES, "int8": torch.bfloat16}  # a table is looked up, not multiplied

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Projection:
    """A linear map, its weight packed for the kernel."""

    weight: PackedWeight
    bias: Tensor | None
    threads: int

    def __call__(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias, threads=self.threads)


@dataclass(frozen=True)
class Layer:
    attn_norm: Affine
    qkv: Projection
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Projection
    mlp_norm: Affine
    up: Projection  # gate and up in one where the MLP is gated
    down: Projection
    down_block: int  # Hadamard blocks that mix down's input; 1 for none


class Transformer:
    """Weights in their final place, and the forward pass."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Weights,
        threads: int,
        precision: Precision = FLOAT32,
    ) -> None:
        self.config = config
        self.threads = threads
        self.precision = precision
        self.mapped_bytes = weights.mapped_bytes  # of nbytes, what the system may take and reread
        self.scale = 1 / math.sqrt(config.head_dim)
        dtype = WEIGHT_DTYPES[precision.weights]
        self.layers = [
            read_layer(weights, i, config.intermediate_size, dtype, threads)
            for i in range(config.num_layers)
        ]
        self.final_norm = weights.load_affine("final_norm")
        self.lm_head = Projection(weights.load_packed("lm_head", dtype, threads), None, threads)
        # A tied embedding is read out of the output projection: the weights are held once.
        table_dtype = EMBED_DTYPES[precision.weights]
        self.embed = None if config.tied_embeddings else weights.load("embed", table_dtype)
        self.inverse_frequencies = inverse_frequencies(config)
        self.cos = self.sin = torch.empty(0, config.rotary_dim // 2)  # a row for each position

    def reserve(self, length: int) -> None:
        """Have rotary rows for positions below `length`, which `forward` needs.

        Rows come in blocks of one size, so that a row's bits do not depend on the length.
        """
        while len(self.cos) < length:
            first = len(self.cos)
            positions = torch.arange(first, first + ROTARY_BLOCK)
            cos, sin = rotary_rows(positions, self.inverse_frequencies)
            self.cos, self.sin = torch.cat([self.cos, cos]), torch.cat([self.sin, sin])

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors())

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor held."""
        for layer in self.layers:
            for projection in (layer.qkv, layer.out, layer.up, layer.down):
                yield projection.weight.panels
                yield from present(projection.weight.scales, projection.bias)
            for norm in (layer.attn_norm, layer.mlp_norm):
                yield from present(norm.weight, norm.bias)
            yield from present(layer.q_norm, layer.k_norm)
        yield from present(self.final_norm.weight, self.final_norm.bias, self.embed)
        yield from present(
            self.lm_head.weight.panels, self.lm_head.weight.scales, self.cos, self.sin
        )

    def forward(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states after the last layer, before the final norm."""
        x = self.embed_rows(tokens)
        cos, sin = self.cos[positions], self.sin[positions]
        for index, layer in enumerate(self.layers):
            attended = self.attention(index, layer, self.norm(x, layer.attn_norm), cos, sin, attend)
            if self.config.parallel_residual:
                x = x + attended + self.mlp(layer, self.norm(x, layer.mlp_norm))
            else:
                x = x + attended
                x = x + self.mlp(layer, self.norm(x, layer.mlp_norm))
        return x

    def embed_rows(self, tokens: Tensor) -> Tensor:
        if self.embed is None:
            return self.lm_head.weight.rows(tokens).float()
        return self.embed[tokens].float()

    def logits(self, hidden: Tensor) -> Tensor:
        return self.lm_head(self.norm(hidden, self.final_norm))

    def attention(
        self, index: int, layer: Layer, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend
    ) -> Tensor:
        config, T = self.config, x.shape[0]
        heads = config.num_heads, config.num_kv_heads, config.num_kv_heads
        qkv = layer.qkv(x).view(T, sum(heads), config.head_dim)
        q, k, v = (part.contiguous() for part in qkv.split(heads, dim=1))
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k = self.head_norm(q, layer.q_norm), self.head_norm(k, layer.k_norm)
        q = ops.rotary_embedding(q, cos, sin, threads=self.threads)
        k = ops.rotary_embedding(k, cos, sin, threads=self.threads)
        attended = attend(index, q, k, v)  # [T, H, D]
        return layer.out(attended.view(T, -1))

    def head_norm(self, x: Tensor, weight: Tensor) -> Tensor:
        rows = x.view(-1, self.config.head_dim)
        return ops.rms_norm(rows, weight, self.config.norm_eps, threads=self.threads).view_as(x)

    def norm(self, x: Tensor, norm: Affine) -> Tensor:
        eps = self.config.norm_eps
        if norm.bias is None:
            return ops.rms_norm(x, norm.weight, eps, threads=self.threads)
        return ops.layer_norm(x, norm.weight, norm.bias, eps, threads=self.threads)

    def mlp(self, layer: Layer, x: Tensor) -> Tensor:
        x = layer.up(x)
        if self.config.gated_mlp:
            x = ops.silu_mul(x, threads=self.threads)
        else:
            x = ops.gelu(x, self.config.activation == "gelu_tanh", threads=self.threads)
        if layer.down_block > 1:
            x = ops.hadamard(x, layer.down_block, threads=self.threads)
        return layer.down(x)


def read_layer(
    weights: Weights, index: int, intermediate_size: int, dtype: torch.dtype, threads: int
) -> Layer:
    name = f"layers.{index}"

    def projection(part: str) -> Projection:
        packed = weights.load_packed(f"{name}.{part}.weight", dtype, threads)
        return Projection(packed, optional(f"{part}.bias"), threads)

    def optional(part: str) -> Tensor | None:
        return weights.load(f"{name}.{part}") if f"{name}.{part}" in weights.names else None

    return Layer(
        attn_norm=weights.load_affine(f"{name}.attn_norm"),
        qkv=projection("qkv"),
        q_norm=optional("q_norm"),
        k_norm=optional("k_norm"),
        out=projection("out"),
        mlp_norm=weights.load_affine(f"{name}.mlp_norm"),
        up=projection("up"),
        down=projection("down"),
        down_block=mixing_block(f"{name}.down.weight", intermediate_size, dtype),
    )


def present(*tensors: Tensor | None) -> Iterator[Tensor]:
    return (tensor for tensor in tensors if tensor is not None)
