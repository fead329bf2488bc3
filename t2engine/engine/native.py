"""The native step: whole passes through the layers in C++, and whole stretches of decoding.

The same layers as `forward.py`, the same batches and the same stores, without the way back to
Python between operations. `decode_until` goes further: it draws each row's next token and goes on
until a row has ended.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from t2engine.engine.batch import DecodeBatch, PrefillBatch
from t2engine.engine.cache import KeyValueCache
from t2engine.engine.forward import CpuRuntime, OpsRuntime, Runtime
from t2engine.engine.memory import MemoryPlan
from t2engine.engine.slots import Slots
from t2engine.model.transformer import Layer, Projection, Transformer
from t2engine.model.weights import Affine
from t2engine.ops import (
    BackendUnavailableError,
    QuantizedVectors,
    Vectors,
    huge_empty,
    load_function,
)


class NativeRuntime(CpuRuntime):
    """A Transformer's weights as the native step reads them: borrowed, never copied."""

    def __init__(self, model: Transformer, maker: str = "t2engine._C:make_decoder") -> None:
        super().__init__(model)
        make: Callable[..., Any] = load_function(maker)
        self.decoder = make(decoder_parts(model))

    def reserve(self, length: int) -> None:
        """Have rotary rows for positions below `length`."""
        self.model.reserve(length)
        self.decoder.set_rotary(self.model.cos, self.model.sin)

    def workspace_bytes(self, rows: int, logit_rows: int) -> int:
        size: int = self.decoder.workspace_floats(rows, logit_rows)
        return size * torch.float32.itemsize

    def executor(self, plan: MemoryPlan) -> NativeExecutor:
        cache = KeyValueCache(self.model.config, plan, self.model.precision.cache)
        return NativeExecutor(self, cache, plan.rows, plan.logit_rows)


class NativeExecutor:
    """Runs the layers for one call's stores.

    workspace: of as many bytes as the runtime says for these rows; None makes one.
    """

    def __init__(
        self,
        native: NativeRuntime,
        cache: KeyValueCache,
        rows: int,
        logit_rows: int,
        workspace: Tensor | None = None,
    ) -> None:
        self.native = native
        self.threads = native.model.threads
        make: Callable[..., Any] = load_function("t2engine._C:Cache")
        self.cache = make([tuple(map(store_parts, stores)) for stores in cache.layers()])
        self.logit_rows = logit_rows
        if workspace is None:
            size = native.workspace_bytes(rows, logit_rows) // torch.float32.itemsize
            workspace = huge_empty((size,), torch.float32)
        self.workspace = workspace

    def prefill(self, batch: PrefillBatch) -> Tensor:
        hidden = torch.empty(len(batch.wanted), self.native.model.config.hidden_size)
        self.native.decoder.prefill(self.cache, vars(batch), hidden, self.workspace, self.threads)
        return hidden

    def decode(self, batch: DecodeBatch, slots: Slots) -> Tensor:
        """Hidden states [R, hidden_size] after the token each row drew last."""
        hidden = torch.empty(len(batch.row_slot), self.native.model.config.hidden_size)
        parts = decode_parts(batch, slots)
        self.native.decoder.decode_hidden(self.cache, parts, hidden, self.workspace, self.threads)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        out = torch.empty(hidden.shape[0], self.native.model.config.vocab_size)
        self.native.decoder.logits(out, hidden, self.workspace, self.threads)
        return out

    def decode_until(
        self, batch: DecodeBatch, slots: Slots, max_steps: int, max_seconds: float
    ) -> tuple[int, Tensor]:
        """Decode and draw until a row has ended, or one of the limits is reached.

        Returns the number of steps, and for each row whether it has ended [R].
        """
        ended = torch.zeros(len(batch.row_slot), dtype=torch.int64)
        steps = self.native.decoder.decode(
            self.cache,
            {**decode_parts(batch, slots), **slots.draw_parts()},
            ended,
            max_steps,
            max_seconds,
            self.logit_rows,
            self.workspace,
            self.threads,
        )
        return steps, ended


def choose_runtime(model: Transformer, instruction_set: str = "auto") -> Runtime:
    """The native step, or the operations where nothing is compiled, as t2engine said on import.

    instruction_set: one of supported_instruction_sets(), or "auto", the first of them.
    """
    if instruction_set != "auto":
        return NativeRuntime(model, f"t2engine._C.{instruction_set}:make_decoder")
    try:
        return NativeRuntime(model)
    except BackendUnavailableError:
        return OpsRuntime(model)


def supported_instruction_sets() -> tuple[str, ...]:
    """Those the native step can use on this machine, the fastest first; none without it."""
    try:
        native = importlib.import_module("t2engine._C")
    except ImportError:
        return ()
    return tuple(native.supported_isas)


def decode_parts(batch: DecodeBatch, slots: Slots) -> Mapping[str, Tensor]:
    return {**vars(batch), "history": slots.history, "drawn": slots.drawn}


def store_parts(store: Vectors) -> tuple[Tensor, Tensor | None]:
    if isinstance(store, QuantizedVectors):
        return store.codes, store.scales
    return store, None


def decoder_parts(model: Transformer) -> dict[str, Any]:
    config = model.config
    sizes = (
        "hidden_size",
        "intermediate_size",
        "vocab_size",
        "num_heads",
        "num_kv_heads",
        "head_dim",
        "norm_eps",
        "activation",
        "parallel_residual",
    )
    return {
        **{name: getattr(config, name) for name in sizes},
        "scale": model.scale,
        "layers": [layer_parts(layer) for layer in model.layers],
        "final_norm": norm_parts(model.final_norm),
        "lm_head": matrix_parts(model.lm_head),
        "embed": model.embed,
    }


def layer_parts(layer: Layer) -> dict[str, Any]:
    return {
        "attn_norm": norm_parts(layer.attn_norm),
        "qkv": matrix_parts(layer.qkv),
        "q_norm": layer.q_norm,
        "k_norm": layer.k_norm,
        "out": matrix_parts(layer.out),
        "mlp_norm": norm_parts(layer.mlp_norm),
        "up": matrix_parts(layer.up),
        "down": matrix_parts(layer.down),
        "down_block": layer.down_block,
    }


def norm_parts(norm: Affine) -> tuple[Tensor, Tensor | None]:
    return norm.weight, norm.bias


def matrix_parts(projection: Projection) -> tuple[Tensor, Tensor | None, Tensor | None, int, int]:
    weight = projection.weight
    return weight.panels.view(-1), weight.scales, projection.bias, *weight.shape
