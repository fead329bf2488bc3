from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine.ops import prefill_attention
from t2engine.ops.store_vectors import widen
from tests.attention_cases import DTYPES, PREFILL_ATTENTION, PrefillCase
from tests.backends import assert_close, run_cpu

SEVERAL = PrefillCase((70, 3, 0, 300), (129, 40, 7, 300), 6, 2, 40)


def in_float64(inputs):
    """Only the queries: the stores are widened to their type."""
    return (inputs[0].double(), *inputs[1:])


def tolerance(case, inputs):
    """2e-6 of the values' scale; a score's own rounding grows with the score."""
    values = widen(inputs[2], torch.float32)
    largest = values.nan_to_num().abs().max() if values.numel() else 1
    return 2e-6 * max(1.0, float(largest)) * max(1.0, case.sharpness)


@pytest.mark.parametrize("case", PREFILL_ATTENTION, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = prefill_attention(*inputs, backend=backend)
    want = prefill_attention.reference(*in_float64(inputs))
    assert_close(out, want, atol=tolerance(case, inputs), rtol=0)


@pytest.mark.parametrize("case", PREFILL_ATTENTION, ids=str)
def test_every_instruction_set_matches_reference(case, native):
    inputs = case.inputs()
    want = prefill_attention.reference(*in_float64(inputs))
    for isa in native.supported_isas:
        [out] = run_cpu(native, isa, prefill_attention, inputs)
        assert_close(out, want, atol=tolerance(case, inputs), rtol=0)


@pytest.mark.parametrize("case", [*PREFILL_ATTENTION, SEVERAL], ids=str)
def test_instruction_sets_with_fused_multiply_add_agree_to_the_bit(case, native):
    inputs = case.inputs()
    fused = [isa for isa in native.supported_isas if isa != "portable"]
    outs = [run_cpu(native, isa, prefill_attention, inputs)[0] for isa in fused]
    assert all(torch.equal(out, outs[0]) for out in outs)


def test_threads_and_other_prompts_change_no_bit(native):
    inputs = SEVERAL.inputs()
    bounds = inputs[3].tolist()
    for isa in native.supported_isas:
        [whole] = run_cpu(native, isa, prefill_attention, inputs)
        for threads in (2, 4):
            [out] = run_cpu(native, isa, prefill_attention, inputs, threads)
            assert torch.equal(out, whole)
        for start, stop in itertools.pairwise(bounds):
            if start < stop:
                alone = SEVERAL.take(inputs, list(range(start, stop)))
                [out] = run_cpu(native, isa, prefill_attention, alone)
                assert torch.equal(out, whole[start:stop])


def test_nan_stays_one_and_stays_in_its_query(native):
    inputs = PrefillCase((40,), (40,), 4, 2, 16).inputs()
    sick = (inputs[0].clone(), *inputs[1:])
    sick[0][7, 1, 3] = torch.nan
    for isa in native.supported_isas:
        [want] = run_cpu(native, isa, prefill_attention, inputs)
        [out] = run_cpu(native, isa, prefill_attention, sick)
        assert out[7, 1].isnan().all()
        out[7, 1] = want[7, 1]
        assert torch.equal(out, want)


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 300), data=st.data())
def test_a_prompt_may_come_in_pieces(length, data):
    case = PrefillCase((length,), (length,), 6, 2, 24)
    inputs = case.inputs()
    cuts = sorted(data.draw(st.sets(st.integers(1, length), max_size=5)) | {0, length})
    pieces = [
        prefill_attention(*case.take(inputs, list(range(start, stop))), backend="cpp")
        for start, stop in itertools.pairwise(cuts)
    ]
    assert torch.equal(torch.cat(pieces), prefill_attention(*inputs, backend="cpp"))


@settings(max_examples=30, deadline=None)
@given(cuts=st.sets(st.integers(1, 5), max_size=3), data=st.data())
def test_a_query_does_not_see_where_its_keys_are_cut(cuts, data):
    length = data.draw(st.integers(6 * 128 - 127, 6 * 128))
    queries = data.draw(st.sampled_from([1, 2, 9, 150, length]))
    case = PrefillCase((queries,), (length,), 6, 2, 24, dtype=data.draw(st.sampled_from(DTYPES)))
    q, k, v, query_bounds, spans, _, scale = case.inputs()
    [[start, stop]] = spans.tolist()
    bounds = [start, *(start + 128 * cut for cut in sorted(cuts)), stop]
    cut = torch.tensor(list(itertools.pairwise(bounds)))
    one, several = torch.tensor([0, 1]), torch.tensor([0, len(cut)])
    whole = prefill_attention(q, k, v, query_bounds, spans, one, scale, backend="cpp")
    apart = prefill_attention(q, k, v, query_bounds, cut, several, scale, backend="cpp")
    assert torch.equal(apart, whole)


@settings(max_examples=20, deadline=None)
@given(length=st.integers(2, 200), data=st.data())
def test_later_keys_change_no_bit(length, data):
    inputs = PrefillCase((length,), (length,), 4, 2, 16).inputs()
    q, k, v, *rest = inputs
    first = data.draw(st.integers(1, length - 1))
    k, v = k.clone(), v.clone()
    k[:, 2 + first :] *= -3  # the store has two unused places in front
    v[:, 2 + first :] += 1
    before = prefill_attention(*inputs, backend="cpp")
    after = prefill_attention(q, k, v, *rest, backend="cpp")
    assert torch.equal(before[:first], after[:first])
    assert not torch.equal(before[first], after[first])


def test_the_first_query_returns_the_first_value(native):
    inputs = PrefillCase((40,), (40,), 6, 2, 40).inputs()
    for isa in native.supported_isas:
        [out] = run_cpu(native, isa, prefill_attention, inputs)
        assert_close(out[0], inputs[2][:, 2].repeat_interleave(3, dim=0), atol=0, rtol=1e-6)


def change(name, change):
    names = ("q", "k", "v", "query_bounds", "spans", "span_bounds", "scale")
    inputs = dict(zip(names, PrefillCase((3,), (4,), 4, 2, 8).inputs(), strict=True))
    inputs[name] = change(inputs[name])
    return inputs.values()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("q", lambda x: x[:, :3]),
        ("q", lambda x: x[..., 1:]),
        ("v", lambda x: x[:, 1:]),
        ("spans", lambda x: x.repeat(1, 2)),
        ("span_bounds", lambda x: x[1:]),
    ],
)
def test_a_wrong_shape_is_named(name, wrong):
    with pytest.raises(ValueError, match=f"prefill_attention: {name} must"):
        prefill_attention(*change(name, wrong))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("query_bounds", lambda x: x + 1),
        ("spans", lambda x: x + 100),
        ("span_bounds", lambda x: x + 1),
        ("spans", lambda x: x.flip(1)),
        ("spans", lambda x: x - torch.tensor([0, 2])),  # fewer keys than queries
    ],
)
def test_what_leaves_the_tensors_is_refused(name, wrong):
    with pytest.raises(ValueError, match=f"prefill_attention: {name} must"):
        prefill_attention(*change(name, wrong), backend="cpp")
