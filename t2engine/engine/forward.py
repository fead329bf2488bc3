"""The two ways through the transformer, over the operations: the description of the native step.

`native.py` runs the same layers in C++ without coming back between operations; tests hold the two
against each other. Both take the same batches and fill the same stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from t2engine import ops
from t2engine.engine.batch import DecodeBatch, PrefillBatch, make_prefill_batch, pieces_of
from t2engine.engine.cache import KeyValueCache
from t2engine.engine.memory import FLOAT_BYTES, SHARE_OF_AVAILABLE, MemoryPlan, available_bytes
from t2engine.engine.requests import Group
from t2engine.engine.slots import Slots
from t2engine.model.transformer import Transformer

if TYPE_CHECKING:
    from t2engine.model.device_model import DeviceModel


class Executor(Protocol):
    """What runs the layers. A token's keys and values are stored as it goes through them."""

    def prefill(self, batch: PrefillBatch) -> Tensor:
        """Hidden states of the wanted tokens [W, hidden_size]."""

    def decode(self, batch: DecodeBatch, slots: Slots) -> Tensor:
        """Hidden states [R, hidden_size] after the token each row drew last."""

    def logits(self, hidden: Tensor) -> Tensor:
        """[rows, vocab_size]"""


class Runtime(Protocol):
    """A model, and how calls run it."""

    @property
    def model(self) -> Transformer | DeviceModel: ...

    runs_ahead: bool  # of the host, where requests let it
    chunk_tokens: int | None  # of prompts, that go through the layers at once; None: CHUNK_TOKENS

    def reserve(self, length: int) -> None:
        """Have rotary rows for positions below `length`."""

    def available_bytes(self) -> int:
        """What a call may take beside the weights, where the user set no limit."""

    def room_of_steps(self, num_steps: int) -> int:
        """Columns that a slot of the suffix store has for so many steps."""

    def workspace_bytes(self, rows: int, logit_rows: int) -> int:
        """What passes of so many rows need, with logits of logit_rows at a time."""

    def executor(self, plan: MemoryPlan) -> Executor:
        """What runs one call, with its stores."""


class CpuRuntime:
    """What the two runtimes of a CPU share."""

    runs_ahead = False
    chunk_tokens: int | None = None

    def __init__(self, model: Transformer) -> None:
        self.model = model

    def available_bytes(self) -> int:
        return int(available_bytes(self.model.mapped_bytes) * SHARE_OF_AVAILABLE)

    def room_of_steps(self, num_steps: int) -> int:
        return num_steps


class OpsRuntime(CpuRuntime):
    """Runs on any machine, operation by operation; what is left where nothing was compiled."""

    def reserve(self, length: int) -> None:
        self.model.reserve(length)

    def workspace_bytes(self, rows: int, logit_rows: int) -> int:
        config = self.model.config
        mlp_width = config.intermediate_size * (3 if config.gated_mlp else 2)
        query_width = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
        activations = rows * (4 * config.hidden_size + mlp_width + 3 * query_width)
        return FLOAT_BYTES * (activations + 3 * logit_rows * config.vocab_size)

    def executor(self, plan: MemoryPlan) -> Executor:
        cache = KeyValueCache(self.model.config, plan, self.model.precision.cache)
        return OpsExecutor(self.model, cache)


class OpsExecutor:
    """Every operation called by its contract."""

    def __init__(self, model: Transformer, cache: KeyValueCache) -> None:
        self.model = model
        self.cache = cache

    def prefill(self, batch: PrefillBatch) -> Tensor:
        model, cache = self.model, self.cache

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            cache.write_prefix(layer, batch.columns, k, v)
            attended: Tensor = ops.prefill_attention(
                q,
                cache.prefix_keys[layer],
                cache.prefix_values[layer],
                batch.query_bounds,
                batch.spans,
                batch.span_bounds,
                model.scale,
                threads=model.threads,
            )
            return attended

        return model.forward(batch.tokens, batch.positions, attend)[batch.wanted]

    def decode(self, batch: DecodeBatch, slots: Slots) -> Tensor:
        model, cache = self.model, self.cache
        stored = slots.drawn[batch.row_slot] - 1  # the last token is not stored yet
        tokens = slots.history[batch.row_slot, stored]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            cache.write_suffix(layer, batch.row_slot, stored, k, v)
            attended: Tensor = ops.tree_attention(
                q,
                cache.prefix_keys[layer],
                cache.prefix_values[layer],
                batch.segment_columns,
                batch.segment_rows,
                cache.suffix_keys[layer],
                cache.suffix_values[layer],
                batch.row_slot,
                stored + 1,
                model.scale,
                threads=model.threads,
            )
            return attended

        return model.forward(tokens, batch.prefix_len + stored, attend)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.logits(hidden)


def prefill(executor: Executor, groups: Sequence[Group], chunk_tokens: int | None = None) -> None:
    """Compute and store the keys of these prompts, and the logits after each.

    chunk_tokens: that go through the layers at once; None takes CHUNK_TOKENS.
    """
    for pieces in pieces_of(groups, chunk_tokens):
        hidden = executor.prefill(make_prefill_batch(pieces))
        last = [piece.group for piece in pieces if piece.is_last]
        if last:
            logits = executor.logits(hidden)
            for row, group in enumerate(last):
                group.logits = logits[row : row + 1].clone()
                group.computed = len(group.token_ids)
