"""What goes through the layers together: pieces of prompts, or one new token for every row.

Prompts go in pieces of a fixed number of tokens, counted from their start, and several side by
side; what a token computes does not depend on the piece or its company.

Shapes: T tokens of G pieces; R rows. All tensors int64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from t2engine.engine.memory import CHUNK_TOKENS
from t2engine.engine.prefix_tree import Segment
from t2engine.engine.requests import Group


@dataclass(frozen=True)
class Piece:
    """Tokens start to stop of one prompt."""

    group: Group
    start: int
    stop: int

    @property
    def is_last(self) -> bool:
        return self.stop == len(self.group.token_ids)


@dataclass(frozen=True)
class PrefillBatch:
    """Pieces side by side, as prefill_attention takes them."""

    tokens: Tensor  # [T]
    positions: Tensor  # [T]
    columns: Tensor  # [T], of the prefix store, where their keys go
    query_bounds: Tensor  # [G + 1]
    spans: Tensor  # [M, 2], columns of all the keys a piece's prompt has by now
    span_bounds: Tensor  # [G + 1]
    wanted: Tensor  # [W], the last tokens of prompts


@dataclass(frozen=True)
class DecodeBatch:
    """The rows of a decode step, as tree_attention takes them."""

    row_slot: Tensor  # [R]
    prefix_len: Tensor  # [R], of the row's prompt
    segment_columns: Tensor  # [M, 2]
    segment_rows: Tensor  # [M, 2]
    groups: tuple[Group, ...]  # in row order


def in_tree_order(groups: Sequence[Group]) -> list[Group]:
    """Depth first, so that the rows of every segment are consecutive."""
    return sorted(groups, key=lambda group: [segment.span for segment in group.path()])


def make_decode_batch(running: Sequence[Group]) -> DecodeBatch:
    groups = in_tree_order([group for group in running if group.slots])
    rows_of: dict[Segment, tuple[int, int]] = {}
    slots: list[int] = []
    for group in groups:
        first = len(slots)
        slots += group.slots
        for segment in group.path():
            rows_of[segment] = (rows_of.get(segment, (first, 0))[0], len(slots))
    lengths = torch.tensor([len(group.token_ids) for group in groups])
    counts = torch.tensor([len(group.slots) for group in groups])
    return DecodeBatch(
        row_slot=torch.tensor(slots),
        prefix_len=lengths.repeat_interleave(counts),
        segment_columns=torch.tensor([segment.span for segment in rows_of]),
        segment_rows=torch.tensor(list(rows_of.values())),
        groups=tuple(groups),
    )


def pieces_of(groups: Sequence[Group], chunk_tokens: int | None = None) -> Iterator[list[Piece]]:
    """What is to be computed of these prompts, at most so many tokens (CHUNK_TOKENS) at a time."""
    chunk = chunk_tokens or CHUNK_TOKENS
    pieces: list[Piece] = []
    room = chunk
    for group in groups:
        length, first = len(group.token_ids), group.computed
        while first < length:
            stop = min(length, first - first % chunk + chunk)
            if stop - first > room:
                yield pieces
                pieces, room = [], chunk
            pieces.append(Piece(group, first, stop))
            room -= stop - first
            first = stop
    if pieces:
        yield pieces


def make_prefill_batch(pieces: Sequence[Piece]) -> PrefillBatch:
    tokens: list[int] = []
    positions, columns = [], []
    query_bounds, span_bounds = [0], [0]
    spans: list[tuple[int, int]] = []
    wanted = []
    for piece in pieces:
        tokens += piece.group.token_ids[piece.start : piece.stop]
        positions.append(torch.arange(piece.start, piece.stop))
        seen = first_columns(piece.group, piece.stop)
        spans += seen
        all_columns = torch.cat([torch.arange(start, stop) for start, stop in seen])
        columns.append(all_columns[piece.start :])
        query_bounds.append(len(tokens))
        span_bounds.append(len(spans))
        if piece.is_last:
            wanted.append(len(tokens) - 1)
    return PrefillBatch(
        tokens=torch.tensor(tokens),
        positions=torch.cat(positions),
        columns=torch.cat(columns),
        query_bounds=torch.tensor(query_bounds),
        spans=torch.tensor(spans),
        span_bounds=torch.tensor(span_bounds),
        wanted=torch.tensor(wanted, dtype=torch.int64),
    )


def first_columns(group: Group, length: int) -> list[tuple[int, int]]:
    """Where the keys of a prompt's first `length` tokens are, as spans in their order."""
    spans = []
    for segment in group.path():
        start, stop = segment.span
        if length > 0:
            spans.append((start, min(stop, start + length)))
        length -= stop - start
    return spans
