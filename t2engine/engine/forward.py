"""The two ways through the transformer: a prompt once, then all samples a token at a time.

Prompts go through the layers in pieces of a fixed number of tokens, counted from their start, and
several side by side; what a token computes does not depend on the piece or its company.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from t2engine import ops
from t2engine.engine.cache import PrefixStore, SuffixStore
from t2engine.engine.memory import CHUNK_TOKENS
from t2engine.engine.requests import Group
from t2engine.model.transformer import Transformer


@dataclass(frozen=True)
class Batch:
    """The rows of a decode step, prompt by prompt, as shared_prefix_attention takes them."""

    row_slot: Tensor  # [R]
    row_bounds: Tensor  # [G + 1]
    prefix_bounds: Tensor  # [G, 2]
    prefix_len: Tensor  # [R], of the row's prompt


@dataclass(frozen=True)
class Piece:
    """Tokens start to stop of one prompt."""

    group: Group
    start: int
    stop: int


def make_batch(groups: Sequence[Group]) -> Batch:
    counts = torch.tensor([0, *(len(group.slots) for group in groups)])
    lengths = torch.tensor([len(group.token_ids) for group in groups], dtype=torch.int64)
    return Batch(
        row_slot=torch.tensor([slot for group in groups for slot in group.slots]),
        row_bounds=counts.cumsum(0),
        prefix_bounds=torch.tensor([group.span for group in groups]),
        prefix_len=lengths.repeat_interleave(counts[1:]),
    )


def decode(
    model: Transformer,
    prefix: PrefixStore,
    suffix: SuffixStore,
    batch: Batch,
    tokens: Tensor,
    suffix_len: Tensor,
) -> Tensor:
    """Hidden states of one new token a row. tokens, suffix_len (before it) [R]; out [R, hidden]."""
    seen = suffix_len + 1

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        suffix.write(layer, batch.row_slot, suffix_len, k, v)
        attended: Tensor = ops.shared_prefix_attention(
            q,
            prefix.keys[layer],
            prefix.values[layer],
            batch.prefix_bounds,
            batch.row_bounds,
            suffix.keys[layer],
            suffix.values[layer],
            batch.row_slot,
            seen,
            model.scale,
            threads=model.threads,
        )
        return attended

    return model.forward(tokens, batch.prefix_len + suffix_len, attend)


def prefill(model: Transformer, prefix: PrefixStore, groups: Sequence[Group]) -> None:
    """Compute and store the keys of these prompts, and the logits after each."""
    for pieces in chunks(groups):
        hidden = prefill_pieces(model, prefix, pieces)
        ends = torch.tensor([piece.stop - piece.start for piece in pieces]).cumsum(0) - 1
        last = [i for i, piece in enumerate(pieces) if piece.stop == len(piece.group.token_ids)]
        if last:
            logits = model.logits(hidden[ends[last]])
            for row, i in enumerate(last):
                pieces[i].group.logits = logits[row : row + 1].clone()


def chunks(groups: Sequence[Group]) -> Iterator[list[Piece]]:
    """Pieces of whole or part prompts that together have at most CHUNK_TOKENS tokens."""
    pieces: list[Piece] = []
    room = CHUNK_TOKENS
    for group in groups:
        length = len(group.token_ids)
        for start in range(0, length, CHUNK_TOKENS):
            stop = min(length, start + CHUNK_TOKENS)
            if stop - start > room:
                yield pieces
                pieces, room = [], CHUNK_TOKENS
            pieces.append(Piece(group, start, stop))
            room -= stop - start
    if pieces:
        yield pieces


def prefill_pieces(model: Transformer, prefix: PrefixStore, pieces: Sequence[Piece]) -> Tensor:
    counts = torch.tensor([0, *(piece.stop - piece.start for piece in pieces)])
    query_bounds = counts.cumsum(0)
    key_bounds = torch.tensor([(p.group.span[0], p.group.span[0] + p.stop) for p in pieces])
    positions = torch.cat([torch.arange(piece.start, piece.stop) for piece in pieces])
    columns = positions + key_bounds[:, 0].repeat_interleave(counts[1:])
    span_bounds = torch.arange(len(pieces) + 1)
    tokens = torch.tensor([t for p in pieces for t in p.group.token_ids[p.start : p.stop]])

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        prefix.write(layer, columns, k, v)
        attended: Tensor = ops.prefill_attention(
            q,
            prefix.keys[layer],
            prefix.values[layer],
            query_bounds,
            key_bounds,
            span_bounds,
            model.scale,
            threads=model.threads,
        )
        return attended

    return model.forward(tokens, positions, attend)
