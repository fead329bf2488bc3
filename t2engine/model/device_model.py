"""The transformer of transformer.py for a device that torch drives: plain weights, its products.

    x = x + out(attend(qkv(norm(x))));   x = x + down(act(up(norm(x))))      for each layer

How queries meet keys is the caller's: `attend(layer, qkv)` takes the product of the layer's qkv
weight, without its bias, so that a decode step can do all that follows in one kernel.

Weights, activations and keys are of one floating-point type; sums are float32. With `invariant`,
products are of fixed tiles, so that a row's bits do not depend on how many rows there are.

Shapes: x [T, hidden_size]; qkv [T, (H + 2 H_kv) D]; what attend returns [T, H D];
        logits [T, vocab_size].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from t2engine import ops
from t2engine.model.rope import inverse_frequencies, rotary_rows
from t2engine.model.transformer import ROTARY_BLOCK, WEIGHT_DTYPES, present
from t2engine.model.weights import Affine, Weights
from t2engine.schema import ModelConfig, Precision

Attend = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class DeviceLayer:
    attn_norm: Affine
    qkv: Affine
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Affine
    mlp_norm: Affine
    up: Affine  # gate and up in one where the MLP is gated
    down: Affine

    def tensors(self) -> Iterator[Tensor]:
        for part in (self.attn_norm, self.qkv, self.out, self.mlp_norm, self.up, self.down):
            yield from present(part.weight, part.bias)
        yield from present(self.q_norm, self.k_norm)


class DeviceModel:
    """Weights on a device, and the forward pass.

    dtype: "float32", "bfloat16" or "float16".
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: Weights,
        device: torch.device,
        dtype: str,
        invariant: bool = False,
    ) -> None:
        self.config = config
        self.device = device
        self.dtype = WEIGHT_DTYPES[dtype]
        self.precision = Precision(dtype, dtype)
        self.invariant = invariant
        self.threads = torch.get_num_threads()
        self.mapped_bytes = 0
        self.scale = 1 / math.sqrt(config.head_dim)

        def load(name: str) -> Tensor:
            return weights.load(name, self.dtype).to(device)

        def optional(name: str) -> Tensor | None:
            return load(name) if name in weights.names else None

        def affine(name: str) -> Affine:
            return Affine(load(f"{name}.weight"), optional(f"{name}.bias"))

        self.layers = [
            DeviceLayer(
                attn_norm=affine(f"layers.{i}.attn_norm"),
                qkv=affine(f"layers.{i}.qkv"),
                q_norm=optional(f"layers.{i}.q_norm"),
                k_norm=optional(f"layers.{i}.k_norm"),
                out=affine(f"layers.{i}.out"),
                mlp_norm=affine(f"layers.{i}.mlp_norm"),
                up=affine(f"layers.{i}.up"),
                down=affine(f"layers.{i}.down"),
            )
            for i in range(config.num_layers)
        ]
        self.final_norm = affine("final_norm")
        self.lm_head = load("lm_head")
        self.embed = self.lm_head if config.tied_embeddings else load("embed")
        self.inverse_frequencies = inverse_frequencies(config)
        self.cos = self.sin = torch.empty(0, config.rotary_dim // 2, device=device)

    def reserve(self, length: int) -> None:
        """Have rotary rows for positions below `length`; their bits do not depend on it."""
        first = self.cos.shape[0]
        if first >= length:
            return
        blocks = [
            rotary_rows(torch.arange(start, start + ROTARY_BLOCK), self.inverse_frequencies)
            for start in range(first, length, ROTARY_BLOCK)
        ]
        cos, sin = (torch.cat(rows).to(self.device) for rows in zip(*blocks, strict=True))
        self.cos, self.sin = torch.cat([self.cos, cos]), torch.cat([self.sin, sin])

    @property
    def nbytes(self) -> int:
        own = [tensor for layer in self.layers for tensor in layer.tensors()]
        own += present(self.final_norm.weight, self.final_norm.bias, self.lm_head)
        own += [] if self.config.tied_embeddings else [self.embed]
        return sum(tensor.nbytes for tensor in (*own, self.cos, self.sin))

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """Hidden states after the last layer, before the final norm; x is left as it was."""
        for index, layer in enumerate(self.layers):
            normed = self.norm(x, layer.attn_norm)
            attended = attend(index, self.linear(normed, layer.qkv.weight))
            y = self.add_linear(x, attended, layer.out)
            x = self.mlp(layer, y, x if self.config.parallel_residual else y)
        return x

    def mlp(self, layer: DeviceLayer, residual: Tensor, x: Tensor) -> Tensor:
        up = self.linear(self.norm(x, layer.mlp_norm), layer.up.weight)
        if layer.up.bias is not None:
            up += layer.up.bias
        if self.config.gated_mlp:
            hidden: Tensor = ops.silu_mul(up)
        else:
            tanh = self.config.activation == "gelu_tanh"
            hidden = functional.gelu(up, approximate="tanh" if tanh else "none")
        return self.add_linear(residual, hidden, layer.down)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.linear(self.norm(hidden, self.final_norm), self.lm_head)

    def norm(self, x: Tensor, norm: Affine) -> Tensor:
        if norm.bias is None:
            normed: Tensor = ops.rms_norm(x, norm.weight, self.config.norm_eps)
            return normed
        width = (x.shape[1],)
        return functional.layer_norm(x, width, norm.weight, norm.bias, self.config.norm_eps)

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.invariant and x.is_cuda:
            product: Tensor = ops.linear(x, weight, None, backend="triton")
            return product
        return functional.linear(x, weight)

    def add_linear(self, residual: Tensor, x: Tensor, affine: Affine) -> Tensor:
        """residual + x @ weight.T + bias, the sum done by the product itself where it can be."""
        if self.invariant and x.is_cuda:
            out = residual + self.linear(x, affine.weight)
        else:
            out = torch.addmm(residual, x, affine.weight.T)
        if affine.bias is not None:
            out += affine.bias
        return out
