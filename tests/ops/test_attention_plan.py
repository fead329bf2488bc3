"""Plans carried out in float64, one query at a time: what no kernel is needed to be right about."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from t2engine.ops import SHARING_BLOCK, slab_attention
from t2engine.ops._attention_plan import AttentionPlan, Device, Segment, plan_attention
from t2engine.ops._prefix_choices import choose_prefix
from t2engine.ops.slab_attention import segments_of
from tests.backends import assert_close, to_float64
from tests.slab_cases import SLAB_ATTENTION, SlabCase, one_prompt

DEVICES = [Device(90, processors) for processors in (1, 132, 4000)]
Span = tuple[int, int]


def heads(rows: int, sharers: int = 7, num_kv_heads: int = 1, head_dim: int = 64) -> Tensor:
    """Queries of which a plan only asks the shape and dtype."""
    return torch.empty(num_kv_heads, rows, sharers, head_dim, dtype=torch.float16)


def states_of(plan: AttentionPlan, sharers: int) -> dict[tuple[int, int, int], Span]:
    """Which columns each (row, sharer, state) comes from; no state is written twice."""
    found: dict[tuple[int, int, int], Span] = {}
    for first, queries, tile, start, stop, index in plan.items.tolist():
        assert 0 <= tile < queries
        assert start < stop
        for query in range(tile, min(tile + plan.choice.tile_rows, queries)):
            key = (first + query // sharers, query % sharers, index)
            assert key not in found
            found[key] = (start, stop)
    return found


def columns_of(plan: AttentionPlan, sharers: int) -> Iterator[tuple[list[Span], list[Span]]]:
    """Each row's states and spans, in the order in which the suffix kernel takes them."""
    states = states_of(plan, sharers)
    bounds, spans = plan.row_states.tolist(), plan.spans.tolist()
    assert len(states) == sharers * plan.num_states == sharers * bounds[-1]
    for row, (begin, end) in enumerate(pairwise(bounds)):
        each = [[states[row, s, i] for i in range(end - begin)] for s in range(sharers)]
        assert all(own == each[0] for own in each)
        alone = spans[int(plan.row_spans[row]) : int(plan.row_spans[row + 1])]
        yield each[0], [(start, stop) for start, stop in alone]


def carried_out(plan: AttentionPlan, inputs: tuple[Any, ...]) -> Tensor:
    q, prefix_k, prefix_v, _, _, slab_k, slab_v, row_chunk, first, last, scale = inputs
    (H_kv, R, G, D), T, B = q.shape, slab_k.shape[2], row_chunk.shape[0]
    out = torch.zeros(R, H_kv, G, D, dtype=q.dtype)
    for row, (states, spans) in enumerate(columns_of(plan, G)):
        steps = torch.arange(int(first[row]), int(last[row]) + 1)
        chunk = row_chunk[steps // T % B, row]
        own = [slab[chunk, :, steps % T].transpose(0, 1) for slab in (slab_k, slab_v)]
        shared = [[x[:, a:b] for x in (prefix_k, prefix_v)] for a, b in (*states, *spans)]
        total = torch.full((H_kv, G), -torch.inf, dtype=q.dtype)
        for keys, values in (*shared, own):
            scores = scale * torch.einsum("hgd,hpd->hgp", q[:, row], keys)
            lse = scores.logsumexp(-1)
            part = torch.einsum("hgp,hpd->hgd", (scores - lse[..., None]).exp(), values)
            before, total = total, torch.logaddexp(total, lse)
            if keys.shape[1]:
                weights = [(x - total).exp()[..., None] for x in (before, lse)]
                out[row] = weights[0] * out[row] + weights[1] * part
    return out.view(R, H_kv * G, D)


@pytest.mark.parametrize("invariant", [False, True])
@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("case", SLAB_ATTENTION, ids=str)
def test_carrying_out_a_plan_is_the_reference(case, device, invariant):
    inputs = to_float64(case.inputs())
    segments = segments_of(inputs[3], inputs[4])
    q = inputs[0].half()
    plan = plan_attention(segments, q, "triton", device=device, invariant=invariant)
    assert_close(carried_out(plan, inputs), slab_attention.reference(*inputs), atol=1e-12, rtol=0)


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[Segment], int]:
    """Segments that nest up to three deep, in columns one after another, and their rows."""
    num_rows = draw(st.integers(1, 30))
    segments: list[Segment] = []

    def grow(first: int, end: int, depth: int) -> None:
        for _ in range(draw(st.integers(0, 3)) if depth else 0):
            begin = draw(st.integers(first, end))
            first = draw(st.integers(begin, end))
            start = segments[-1][1] if segments else 3
            length = draw(st.sampled_from((0, 1, 63, 64, 127, 128, 129, 500, 513, 1000)))
            segments.append((start, start + length, begin, first))
            grow(begin, first, depth - 1)

    grow(0, num_rows, 3)
    return segments, num_rows


@settings(deadline=None, max_examples=200)
@given(trees(), st.sampled_from(DEVICES), st.integers(1, 8), st.booleans())
def test_every_row_reads_every_column_of_its_segments_once(tree, device, sharers, invariant):
    segments, num_rows = tree
    q = heads(num_rows, sharers)
    plan = plan_attention(segments, q, "triton", device=device, invariant=invariant)
    for row, (states, spans) in enumerate(columns_of(plan, sharers)):
        read = sorted(column for span in (*states, *spans) for column in range(*span))
        seen = [range(start, stop) for start, stop, first, end in segments if first <= row < end]
        assert read == sorted(column for columns in seen for column in columns)
        assert states == sorted(states)  # so are the segments of a row, in these trees
        assert spans == sorted(spans)


@given(trees(), st.sampled_from(DEVICES))
@settings(deadline=None)
def test_items_come_longest_first(tree, device):
    plan = plan_attention(tree[0], heads(tree[1]), "triton", device=device)
    lengths = (plan.items[:, 4] - plan.items[:, 3]).tolist()
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("splits", range(1, 9))
def test_a_few_rows_are_split_over_the_processors(splits):
    for keys in (128 * splits, 128 * splits - 100 * (splits > 1)):
        plan = plan_attention([(1, 1 + keys, 0, 3)], heads(3), "triton", device=Device(90, 132))
        assert plan.num_states == 3 * splits
        assert len(plan.items) == splits


def test_what_fills_the_processors_is_not_split():
    rows = 132 * 128 // 7
    plan = plan_attention([(0, 5000, 0, rows)], heads(rows), "triton", device=Device(90, 132))
    assert plan.num_states == rows


def test_short_segments_need_no_prefix_kernel():
    segments = [(0, 63, 0, 1000), (63, 190, 0, 5), (190, 702, 0, 2)]
    plan = plan_attention(segments, heads(1000), "triton", device=Device(90, 132))
    assert (len(plan.items), plan.num_states) == (0, 0)
    assert plan.row_spans.diff().tolist() == [3, 3, 2, 2, 2] + [1] * 995


@st.composite
def cut_prompts(draw: st.DrawFn) -> tuple[list[Segment], int, int]:
    """A prompt cut at multiples of SHARING_BLOCK, each part seen by fewer rows and the last by one.

    Returns the segments, that row, and the number of rows.
    """
    blocks = draw(st.sets(st.integers(1, 7)))
    last = draw(st.integers(1, 2 * SHARING_BLOCK))
    cuts = [0, *(SHARING_BLOCK * block for block in sorted(blocks))]
    segments: list[Segment] = []
    first, end = 0, draw(st.integers(1, 60))
    num_rows = end
    for start, stop in zip(cuts, [*cuts[1:], cuts[-1] + last], strict=True):
        segments.append((start, stop, first, end))
        first = draw(st.integers(first, end - 1))
        end = draw(st.integers(first + 1, end))
    return segments, first, num_rows


@given(cut_prompts(), st.sampled_from(DEVICES))
@settings(deadline=None)
def test_an_invariant_plan_splits_a_row_alike_in_any_company(prompt, device):
    segments, row, num_rows = prompt
    own = [segment for segment in segments if segment[2] <= row < segment[3]]
    cuts = [
        plan_attention(chosen, heads(rows), "triton", device=on, invariant=True)
        for on in (device, DEVICES[1])
        for chosen, rows in (
            (segments, num_rows),
            ([(start, stop, 0, 1) for start, stop, *_ in own], 1),
            ([(own[0][0], own[-1][1], 0, 1)], 1),
        )
    ]
    at = [row, 0, 0] * 2
    read = [list(columns_of(plan, 7))[i] for plan, i in zip(cuts, at, strict=True)]
    assert all(one == read[0] for one in read)
    assert len({plan.choice for plan in cuts}) == 1
    assert read[0][1] == []


@pytest.mark.parametrize(
    "segments",
    [
        [(0, 5, 0, 6)],  # of 5 rows
        [(0, 5, -1, 3)],
        [(0, 5, 3, 2)],
        [(5, 4, 0, 3)],
        [(-1, 4, 0, 3)],
        [(0, 5, 0, 3), (5, 9, 2, 4)],  # overlap
        [(0, 5, 0, 2), (5, 9, 0, 3)],  # the wider one second
        [(0, 5, 2, 4), (5, 9, 0, 1)],  # the later rows first
        [(0, 5, 0, 5), (5, 9, 0, 2), (9, 12, 1, 3)],
    ],
)
def test_segments_that_do_not_nest_are_refused(segments):
    with pytest.raises(ValueError, match="must be in range and nest, depth first"):
        plan_attention(segments, heads(5), "triton")


def test_columns_past_the_store_are_refused():
    inputs = list(SlabCase(one_prompt(3, 40), 3, 1, 2, 16).inputs())
    inputs[3] = inputs[3] + 2
    with pytest.raises(ValueError, match="columns 3 to 43 of 42"):
        slab_attention.lower("triton", *inputs)


def test_a_choice_fits_its_shape_or_is_refused():
    for capability in (80, 86, 90, 120):
        for size in (2, 4):
            for head_dim in (1, 64, 80, 128, 256):
                for queries in (1, 16, 17, 512, 513, 1 << 20):
                    choice = choose_prefix("triton", capability, size, head_dim, queries)
                    assert choice.capability <= capability
                    assert (choice.element_size, choice.max_head_dim >= head_dim) == (size, True)
                    assert choice.max_queries >= queries
    for capability, size, head_dim in ((75, 2, 64), (90, 2, 257), (90, 1, 64)):
        with pytest.raises(ValueError, match="triton has no kernel for head_dim"):
            choose_prefix("triton", capability, size, head_dim, 1)
