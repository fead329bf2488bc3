from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine.ops import QuantizedVectors, shared_prefix_attention, tree_attention
from tests.attention_cases import DTYPES, TREE_ATTENTION, SharedPrefixCase, TreeCase
from tests.backends import assert_close, run_cpu


def in_float64(inputs):
    """Only the query: the stores are widened to its type."""
    return (inputs[0].double(), *inputs[1:])


@pytest.mark.parametrize("case", TREE_ATTENTION, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = tree_attention(*inputs, backend=backend)
    want = tree_attention.reference(*in_float64(inputs))
    assert_close(out, want, atol=8e-6 * max(1.0, case.sharpness), rtol=0)


@pytest.mark.parametrize("case", TREE_ATTENTION, ids=str)
def test_every_instruction_set_matches_reference(case, native):
    inputs = case.inputs()
    want = tree_attention.reference(*in_float64(inputs))
    outs = {isa: run_cpu(native, isa, tree_attention, inputs)[0] for isa in native.supported_isas}
    for out in outs.values():
        assert_close(out, want, atol=8e-6 * max(1.0, case.sharpness), rtol=0)
    fused = [out for isa, out in outs.items() if isa != "portable"]
    assert all(torch.equal(out, fused[0]) for out in fused)


@st.composite
def trees(draw):
    """Rows under random segments: every one with children has whole blocks of keys."""
    rows = draw(st.integers(1, 60))
    segments = []

    def grow(first, end, depth):
        if depth == 3 or draw(st.integers(0, 3)) == 0:
            return
        cuts = draw(st.sets(st.integers(first, end), max_size=3)) | {first, end}
        bounds = sorted(cuts)
        for start, stop in itertools.pairwise(bounds):
            here = len(segments)
            segments.append(None)
            grow(start, stop, depth + 1)
            is_leaf = len(segments) == here + 1
            blocks, rest = draw(st.integers(0, 12)), draw(st.integers(0, 127))
            segments[here] = (start, stop, 128 * blocks + is_leaf * rest)

    grow(0, rows, 0)
    heads, kv_heads = draw(st.sampled_from([(2, 1), (6, 2), (3, 3), (8, 1)]))
    return TreeCase(
        tuple(segments),
        *(rows, heads, kv_heads, draw(st.sampled_from([8, 16, 24, 64])), draw(st.integers(0, 9))),
        dtype=draw(st.sampled_from(DTYPES)),
    )


@settings(max_examples=60, deadline=None)
@given(case=trees(), threads=st.sampled_from([1, 2, 4]), data=st.data())
def test_a_row_does_not_see_who_shares_its_prefix(case, threads, data, native_isas):
    inputs = case.inputs()
    some = sorted(data.draw(st.sets(st.integers(0, case.rows - 1), min_size=1, max_size=5)))
    for native, isa in native_isas:
        [whole] = run_cpu(native, isa, tree_attention, inputs, threads)
        apart = case.take(inputs, list(range(case.rows)))
        [out] = run_cpu(native, isa, tree_attention, apart, threads)
        assert torch.equal(out, whole)
        for row in some:
            [out] = run_cpu(native, isa, tree_attention, case.take(inputs, [row]), 1)
            assert torch.equal(out[0], whole[row])


@settings(max_examples=30, deadline=None)
@given(cuts=st.sets(st.integers(1, 19), max_size=4), data=st.data())
def test_a_row_does_not_see_where_its_prefix_is_cut(cuts, data, native_isas):
    length = data.draw(st.integers(20 * 128 - 127, 20 * 128))
    rows = data.draw(st.sampled_from([1, 4, 11, 40]))
    dtype = data.draw(st.sampled_from(DTYPES))
    inputs = TreeCase(((0, rows, length),), rows, 6, 2, 16, 4, dtype).inputs()
    q, k, v, [[start, stop]], _, *rest = (*inputs[:3], inputs[3].tolist(), *inputs[4:])
    bounds = [start, *(start + 128 * cut for cut in sorted(cuts)), stop]
    columns = torch.tensor(list(itertools.pairwise(bounds)))
    all_rows = torch.tensor([[0, rows]]).repeat(len(columns), 1)
    for native, isa in native_isas:
        [want] = run_cpu(native, isa, tree_attention, inputs)
        [out] = run_cpu(native, isa, tree_attention, (q, k, v, columns, all_rows, *rest))
        assert torch.equal(out, want)


@pytest.fixture(scope="module")
def native_isas():
    native = pytest.importorskip("t2engine._C")
    return [(native, isa) for isa in native.supported_isas]


def test_one_level_is_shared_prefix_attention(native):
    case = SharedPrefixCase((70, 3, 0, 9), (129, 40, 7, 260), 6, 2, 40, 140)
    inputs = case.inputs()
    q, k, v, spans, bounds, *rest = inputs
    rows = torch.stack([bounds[:-1], bounds[1:]], dim=1)
    for isa in native.supported_isas:
        [want] = run_cpu(native, isa, shared_prefix_attention, inputs)
        [out] = run_cpu(native, isa, tree_attention, (q, k, v, spans, rows, *rest))
        assert torch.equal(out, want)


@pytest.mark.parametrize("case", [case for case in TREE_ATTENTION if case.rows == 40], ids=str)
def test_a_segment_is_read_once_for_all_its_rows(case):
    """The cost: sharing saves bytes and no FLOPs."""
    inputs = case.inputs()
    apart = case.take(inputs, list(range(case.rows)))
    together, alone = tree_attention.cost(*inputs), tree_attention.cost(*apart)
    assert together.flops == alone.flops
    assert together.bytes < alone.bytes / 4


NAMES = ("q", "prefix_k", "prefix_v", "segment_columns", "segment_rows", "suffix_k", "suffix_v")
NAMES += ("row_slot", "suffix_len", "scale")


def change(name, change, dtype=torch.float32):
    case = TreeCase(((0, 3, 128), (1, 3, 4)), 3, 4, 2, 8, 2, dtype)
    inputs = dict(zip(NAMES, case.inputs(), strict=True))
    inputs[name] = change(inputs[name])
    return inputs.values()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("prefix_v", lambda x: x[:, 1:]),
        ("prefix_k", lambda x: x.half()),
        ("suffix_v", lambda x: x[1:]),
        ("row_slot", lambda x: x[1:]),
        ("suffix_len", lambda x: x[1:]),
        ("segment_rows", lambda x: x[1:]),
        ("q", lambda x: x[:, :3]),
    ],
)
def test_a_wrong_shape_or_type_is_named(name, wrong):
    with pytest.raises(ValueError, match=f"tree_attention: {name} must"):
        tree_attention(*change(name, wrong))


def test_wrong_scales_are_named():
    def wrong(x):
        return QuantizedVectors(x.codes, x.scales[:, 1:])

    with pytest.raises(ValueError, match=r"tree_attention: prefix_k\.scales must"):
        tree_attention(*change("prefix_k", wrong, torch.int8))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("segment_columns", lambda x: x + 1000),
        ("segment_columns", lambda x: x.flip(1)),
        ("segment_columns", lambda x: x - torch.tensor([0, 1])),  # no whole blocks before the last
        ("segment_columns", lambda x: x.flip(0)),
        ("segment_rows", lambda x: x + 1),
        ("segment_rows", lambda x: x.flip(1)),
        ("row_slot", lambda x: x - 10),
        ("suffix_len", lambda x: x + 10),
    ],
)
def test_what_leaves_the_tensors_is_refused(name, wrong):
    with pytest.raises(ValueError, match=f"tree_attention: {name} must"):
        tree_attention(*change(name, wrong), backend="cpp")
