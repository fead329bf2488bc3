"""The two ways through the transformer, over the operations: the description of the native step.

`native.py` runs the same layers in C++ without coming back between operations; tests hold the two
against each other. Both take the same batches and fill the same stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from t2engine import ops
from t2engine.engine.batch import DecodeBatch, PrefillBatch, make_prefill_batch, pieces_of
from t2engine.engine.cache import KeyValueCache
from t2engine.engine.requests import Group
from t2engine.engine.slots import Slots
from t2engine.model.transformer import Transformer


class Executor(Protocol):
    """What runs the layers. A token's keys and values are stored as it goes through them."""

    def prefill(self, batch: PrefillBatch) -> Tensor:
        """Hidden states of the wanted tokens [W, hidden_size]."""

    def decode(self, batch: DecodeBatch, slots: Slots) -> Tensor:
        """Hidden states [R, hidden_size] after the token each row drew last."""

    def logits(self, hidden: Tensor) -> Tensor:
        """[rows, vocab_size]"""


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


def prefill(executor: Executor, groups: Sequence[Group]) -> None:
    """Compute and store the keys of these prompts, and the logits after each."""
    for pieces in pieces_of(groups):
        hidden = executor.prefill(make_prefill_batch(pieces))
        last = [piece.group for piece in pieces if piece.is_last]
        if last:
            logits = executor.logits(hidden)
            for row, group in enumerate(last):
                group.logits = logits[row : row + 1].clone()
                group.computed = len(group.token_ids)
