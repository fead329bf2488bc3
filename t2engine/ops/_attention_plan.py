"""How one step's attention is cut into work for a GPU, for one composition of the batch.

The prefix kernel takes a flat list of items; an item is a tile of queries of one segment against a
split of its keys, done once for every key head. It leaves a state (out, lse) for each of its rows.
The states of a row lie together, in order of its segments and their splits, and the suffix kernel
merges them in that order before the row's own keys. Short segments, and segments of few rows, are
spans that the suffix kernel reads itself; when all are, it is the only kernel there is.

Shapes: items [W, 6] int32: first row, queries of the segment, first query of the tile, start and
        stop column, index of the state among its row's; row_states and row_spans [R + 1] int32;
        spans [I, 2] int32: start and stop column. Query i of a segment is sharer i % G of row
        first row + i // G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from t2engine.ops._prefix_choices import PrefixChoice, choose_prefix

INVARIANT_KEYS = 128  # of a split in invariant mode: segments part at multiples of SHARING_BLOCK
OCCUPANCY = 2  # items to a processor that hide each other's latency
ENOUGH = 0.8  # of the processors busy without splitting keys
INLINE_KEYS = 64  # a segment of fewer is read row by row
FEW_QUERIES, FEW_QUERIES_KEYS = 16, 512  # and so are 512 keys or less for fewer than 16 queries
SOME_QUERIES, SOME_QUERIES_KEYS = 512, 128

Segment = tuple[int, int, int, int]  # start and stop column, first and end row
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Device:
    """What a plan needs to know of a device."""

    capability: int  # 10 * major + minor
    processors: int


@dataclass(frozen=True)
class AttentionPlan:
    items: Tensor
    row_states: Tensor
    row_spans: Tensor
    spans: Tensor
    num_states: int
    choice: PrefixChoice


def device_of(tensor: Tensor) -> Device:
    """An H200 stands in where there is no GPU, so that its plans can be looked at anywhere."""
    if not tensor.is_cuda:
        return Device(capability=90, processors=132)
    properties = torch.cuda.get_device_properties(tensor.device)
    return Device(10 * properties.major + properties.minor, properties.multi_processor_count)


def plan_attention(
    segments: Sequence[Segment],
    q: Tensor,
    backend: str,
    *,
    device: Device | None = None,
    choice: PrefixChoice | None = None,
    invariant: bool = False,
) -> AttentionPlan:
    """q [H_kv, R, G, D] gives sizes, dtype and device.

    segments: as slab_attention orders them. choice: None takes the table's.
    invariant: cut so that a row's bits depend on nothing but its own keys.
    Raises: ValueError when segments do not nest, or no kernel fits.
    """
    H_kv, R, G, D = q.shape
    device = device or device_of(q)
    check_nesting(segments, R)
    segments = [s for s in segments if s[1] > s[0] and s[3] > s[2]]
    inline = [not invariant and is_inline(s, G) for s in segments]
    read_once = [s for s, alone in zip(segments, inline, strict=True) if not alone]
    if choice is None:
        most = max((G * (end - first) for _, _, first, end in read_once), default=0)
        # One kind of tile, whatever the batch: other tiles give other bits.
        queries = most if not invariant else 1 << 20
        choice = choose_prefix(backend, device.capability, q.element_size(), D, queries)
    split_keys = INVARIANT_KEYS if invariant else keys_of_split(read_once, H_kv, G, choice, device)

    states, spans_of = np.zeros(R, np.int32), np.zeros(R, np.int32)  # of each row, so far
    items: list[Ints] = []
    inlined: list[tuple[Segment, int]] = []
    for segment, alone in zip(segments, inline, strict=True):
        start, stop, first, end = segment
        if alone:
            inlined.append((segment, int(spans_of[first])))
            spans_of[first:end] += 1
        else:
            items.append(items_of(segment, int(states[first]), G, split_keys, choice.tile_rows))
            states[first:end] += -(-(stop - start) // split_keys)
    row_states, row_spans = bounds(states), bounds(spans_of)
    spans = np.zeros((int(row_spans[-1]), 2), np.int32)
    for (start, stop, first, end), offset in inlined:
        spans[row_spans[first:end] + offset] = start, stop

    def on_device(array: Ints) -> Tensor:
        return torch.from_numpy(array).to(q.device, non_blocking=True)

    work = np.concatenate(items) if items else np.zeros((0, 6), np.int32)
    longest_first = np.argsort(work[:, 3] - work[:, 4], kind="stable")
    return AttentionPlan(
        items=on_device(work[longest_first]),
        row_states=on_device(row_states),
        row_spans=on_device(row_spans),
        spans=on_device(spans),
        num_states=int(row_states[-1]),
        choice=choice,
    )


def check_nesting(segments: Sequence[Segment], num_rows: int) -> None:
    """Rows are in range, and those of a segment lie in, or apart from, those of one before."""
    open_ends: list[int] = []
    begun = 0
    for start, stop, first, end in segments:
        while open_ends and open_ends[-1] <= first:
            open_ends.pop()
        inside = not open_ends or end <= open_ends[-1]
        if not (0 <= begun <= first <= end <= num_rows and 0 <= start <= stop and inside):
            raise ValueError(
                "slab_attention: segments must be in range and nest, depth first, got columns "
                f"{start} to {stop} for rows {first} to {end} of {num_rows}"
            )
        begun = first
        if end > first:
            open_ends.append(end)


def is_inline(segment: Segment, sharers: int) -> bool:
    start, stop, first, end = segment
    keys, queries = stop - start, sharers * (end - first)
    return (
        keys < INLINE_KEYS
        or (queries < FEW_QUERIES and keys <= FEW_QUERIES_KEYS)
        or (queries <= SOME_QUERIES and keys < SOME_QUERIES_KEYS)
    )


def keys_of_split(
    segments: Sequence[Segment], num_kv_heads: int, sharers: int, choice: PrefixChoice, on: Device
) -> int:
    """Columns of a split: whole segments where they occupy the device, else shorter ones."""
    tiles = [-(-sharers * (end - first) // choice.tile_rows) for *_, first, end in segments]
    longest = max((stop - start for start, stop, *_ in segments), default=1)
    if num_kv_heads * sum(tiles) >= ENOUGH * on.processors:
        return longest
    work = num_kv_heads * sum(
        tile * (stop - start) for tile, (start, stop, *_) in zip(tiles, segments, strict=True)
    )
    fair = -(-work // (OCCUPANCY * on.processors))
    least = max(fair, 2 * choice.tile_keys)
    return -(-least // choice.tile_keys) * choice.tile_keys


def items_of(segment: Segment, state: int, sharers: int, split_keys: int, tile_rows: int) -> Ints:
    """[splits * tiles, 6]; neighbours share their keys."""
    start, stop, first, end = segment
    queries = sharers * (end - first)
    starts = np.arange(start, stop, split_keys)
    tiles = np.arange(0, queries, tile_rows)
    items = np.empty((len(starts), len(tiles), 6), np.int32)
    items[..., 0], items[..., 1], items[..., 2] = first, queries, tiles
    items[..., 3] = starts[:, None]
    items[..., 4] = np.minimum(starts + split_keys, stop)[:, None]
    items[..., 5] = state + np.arange(len(starts))[:, None]
    return items.reshape(-1, 6)


def bounds(counts: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int32), counts.cumsum(dtype=np.int32)])
