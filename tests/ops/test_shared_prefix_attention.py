from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine.ops import shared_prefix_attention
from tests.attention_cases import SHARED_PREFIX_ATTENTION, SharedPrefixCase
from tests.backends import assert_close, run_cpu, to_float64

SEVERAL = SharedPrefixCase((70, 3, 0, 9), (129, 40, 7, 260), 6, 2, 40, 140)
# Few rows make a task of every chunk of the prefix, many rows one task of all of them.
CHUNKS = SharedPrefixCase((600,), (2500,), 1, 1, 8, 2)


def tolerance(case, inputs):
    """2e-6 of the values' scale; a score's own rounding grows with the score."""
    largest = inputs[2].nan_to_num().abs().max() if inputs[2].numel() else 1
    return 2e-6 * max(1.0, float(largest)) * max(1.0, case.sharpness)


@pytest.mark.parametrize("case", SHARED_PREFIX_ATTENTION, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = shared_prefix_attention(*inputs, backend=backend)
    want = shared_prefix_attention.reference(*to_float64(inputs))
    assert_close(out, want, atol=tolerance(case, inputs), rtol=0)


def test_no_keys_give_zero(backend, device):
    inputs = SharedPrefixCase((3,), (0,), 4, 2, 16).inputs(device)
    assert (shared_prefix_attention(*inputs, backend=backend) == 0).all()


@pytest.mark.parametrize("case", SHARED_PREFIX_ATTENTION, ids=str)
def test_every_instruction_set_matches_reference(case, native):
    inputs = case.inputs()
    want = shared_prefix_attention.reference(*to_float64(inputs))
    for isa in native.supported_isas:
        [out] = run_cpu(native, isa, shared_prefix_attention, inputs)
        assert_close(out, want, atol=tolerance(case, inputs), rtol=0)


@pytest.mark.parametrize("case", [*SHARED_PREFIX_ATTENTION, SEVERAL], ids=str)
def test_instruction_sets_with_fused_multiply_add_agree_to_the_bit(case, native):
    inputs = case.inputs()
    fused = [isa for isa in native.supported_isas if isa != "portable"]
    outs = [run_cpu(native, isa, shared_prefix_attention, inputs)[0] for isa in fused]
    assert all(torch.equal(out, outs[0]) for out in outs)


@pytest.mark.parametrize("case", [SEVERAL, CHUNKS], ids=str)
def test_a_row_does_not_see_its_batch(case, native):
    inputs, R = case.inputs(), sum(case.rows)
    subsets = [[0], [R - 1], [2, 1, 5, 4, 3, 0, 6], list(range(64)), [0, R - 1], list(range(R))]
    for isa in native.supported_isas:
        [whole] = run_cpu(native, isa, shared_prefix_attention, inputs)
        for rows in subsets:
            some = case.take(inputs, rows)
            for threads in (1, 2, 4):
                [out] = run_cpu(native, isa, shared_prefix_attention, some, threads)
                assert torch.equal(out, whole[rows]), (isa, rows, threads)


def test_a_row_does_not_see_where_its_keys_are_stored(native):
    inputs = SEVERAL.inputs()
    q, prefix_k, prefix_v, spans, bounds, suffix_k, suffix_v, slot, length, scale = inputs
    pad = torch.nn.functional.pad
    moved = (
        q,
        *(pad(x, (0, 0, 5, 9), value=torch.nan) for x in (prefix_k, prefix_v)),
        spans + 5,
        bounds,
        *(pad(x.flip(0), (0, 0, 0, 11), value=torch.nan) for x in (suffix_k, suffix_v)),
        suffix_k.shape[0] - 1 - slot,
        length,
        scale,
    )
    for isa in native.supported_isas:
        [want] = run_cpu(native, isa, shared_prefix_attention, inputs)
        [out] = run_cpu(native, isa, shared_prefix_attention, moved)
        assert torch.equal(out, want)


@pytest.mark.parametrize(("prefix_len", "max_suffix"), [(20, 0), (0, 20), (20, 20)])
def test_nan_stays_one_and_stays_in_its_row(native, prefix_len, max_suffix):
    inputs = SharedPrefixCase((9,), (prefix_len,), 4, 2, 16, max_suffix).inputs()
    sick = (inputs[0].clone(), *inputs[1:])
    sick[0][0, 1, 3] = torch.nan
    for isa in native.supported_isas:
        [want] = run_cpu(native, isa, shared_prefix_attention, inputs)
        [out] = run_cpu(native, isa, shared_prefix_attention, sick)
        assert out[0, 1].isnan().all()
        out[0, 1] = want[0, 1]
        assert torch.equal(out, want)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_permuting_rows_permutes_outputs(data):
    rows = data.draw(st.integers(1, 40))
    case = SharedPrefixCase((rows,), (data.draw(st.integers(0, 200)),), 6, 2, 16, 9)
    order = data.draw(st.permutations(range(rows)))
    inputs = case.inputs()
    whole = shared_prefix_attention(*inputs, backend="cpp")
    assert torch.equal(
        shared_prefix_attention(*case.take(inputs, order), backend="cpp"), whole[order]
    )


@settings(max_examples=20, deadline=None)
@given(prefix_len=st.integers(0, 300), data=st.data())
def test_the_prefix_may_end_anywhere(prefix_len, data):
    """Giving every row its own copy of the prefix's tail changes nothing beyond rounding."""
    tail = data.draw(st.integers(0, prefix_len))
    inputs = SharedPrefixCase((6,), (prefix_len,), 6, 3, 24, 12).inputs()
    q, prefix_k, prefix_v, spans, bounds, suffix_k, suffix_v, slot, length, scale = inputs
    start, stop = spans[0].tolist()

    def with_tail(suffix, prefix):
        copies = prefix[:, stop - tail : stop].expand(suffix.shape[0], -1, -1, -1)
        return torch.cat([copies, suffix], dim=2)

    split = (
        *(q, prefix_k, prefix_v, torch.tensor([[start, stop - tail]]), bounds),
        *(with_tail(suffix_k, prefix_k), with_tail(suffix_v, prefix_v)),
        *(slot, length + tail, scale),
    )
    out = shared_prefix_attention(*inputs, backend="cpp")
    assert_close(shared_prefix_attention(*split, backend="cpp"), out, atol=4e-6, rtol=0)


def test_one_key_returns_its_value(native):
    inputs = SharedPrefixCase((40,), (1,), 6, 2, 40).inputs()
    value = inputs[2][:, 2].repeat_interleave(3, dim=0)  # [H, D]
    for isa in native.supported_isas:
        [out] = run_cpu(native, isa, shared_prefix_attention, inputs)
        assert_close(out, value.expand_as(out), atol=0, rtol=1e-6)


NAMES = ("q", "prefix_k", "prefix_v", "prefix_bounds", "row_bounds", "suffix_k", "suffix_v")
NAMES += ("row_slot", "suffix_len", "scale")


def change(name, change):
    inputs = dict(zip(NAMES, SharedPrefixCase((3,), (4,), 4, 2, 8, 2).inputs(), strict=True))
    inputs[name] = change(inputs[name])
    return inputs.values()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("prefix_v", lambda x: x[:, 1:]),
        ("suffix_v", lambda x: x[1:]),
        ("row_slot", lambda x: x[1:]),
        ("suffix_len", lambda x: x[1:]),
        ("prefix_bounds", lambda x: x.repeat(2, 1)),
        ("q", lambda x: x[:, :3]),
    ],
)
def test_a_wrong_shape_is_named(name, wrong):
    with pytest.raises(ValueError, match=f"shared_prefix_attention: {name} must"):
        shared_prefix_attention(*change(name, wrong))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("prefix_bounds", lambda x: x + 100),
        ("prefix_bounds", lambda x: x.flip(1)),
        ("row_bounds", lambda x: x + 1),
        ("row_slot", lambda x: x - 10),
        ("suffix_len", lambda x: x + 10),
    ],
)
def test_what_leaves_the_tensors_is_refused(name, wrong):
    with pytest.raises(ValueError, match=f"shared_prefix_attention: {name} must"):
        shared_prefix_attention(*change(name, wrong), backend="cpp")
