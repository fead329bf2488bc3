"""The variants of decode attention: the same inputs, in every layout, give the same attention."""

from __future__ import annotations

import pytest
import torch

from benchmarks.gpu import ours as our_layout
from benchmarks.gpu.flashinfer_peers import PAGE, Tables, levels_of, pages_of, to_pages
from benchmarks.gpu.ours import SlabAttention, call_on, choices_for, to_slabs, without_prefix_kernel
from benchmarks.gpu.shapes import (
    HEADS,
    PREFIXES,
    QUICK,
    SAMPLES,
    SUFFIX,
    Shape,
    all_shapes,
    attention,
    checked_rows,
    make_inputs,
    relative_error,
)
from benchmarks.gpu.torch_peers import Flex, Sdpa
from t2engine.ops import slab_attention
from tests.backends import device_of, require, why_not

SMALL = [Shape("Qwen2.5-0.5B", 37, 128), Shape("Qwen3-0.6B", 5, 256), Shape("Llama-3.2-1B", 8, 128)]


def inputs_of(shape):
    return make_inputs(shape, 0, "cpu", torch.float32)


def every_row(shape):
    inputs = inputs_of(shape)
    return attention(shape, inputs, list(range(shape.num_samples)), torch.float64)


def test_every_shape_is_there_once_and_the_quick_ones_come_first():
    shapes = all_shapes(quick=False)
    assert len(set(shapes)) == len(shapes) == len(HEADS) * len(SAMPLES) * len(PREFIXES)
    quick = all_shapes(quick=True)
    assert shapes[: len(quick)] == quick
    assert {(s.num_samples, s.prefix_len) for s in quick} == set(QUICK)
    assert min(SAMPLES) == 8
    assert min(PREFIXES) == 128


def test_every_shape_fits_pages_and_masks():
    for shape in all_shapes(quick=False):
        assert shape.prefix_len % 128 == 0
        assert shape.suffix_len == SUFFIX
        assert pages_of(shape) == (shape.prefix_len // PAGE, SUFFIX // PAGE)


def test_bytes_of_a_shape_are_those_of_its_tensors():
    shape = Shape("Qwen3-0.6B", 5, 256)
    x = make_inputs(shape, 0, "cpu", torch.bfloat16)
    assert shape.shared_bytes == sum(t.nbytes for t in (x.prefix_k, x.prefix_v, x.own_k, x.own_v))
    _, keys, values = Sdpa().expand(shape, x)
    assert shape.expanded_bytes == keys.nbytes + values.nbytes


def test_sets_differ_and_are_the_same_for_all():
    shape = SMALL[1]
    first, again, other = (make_inputs(shape, i, "cpu", torch.float32) for i in (0, 0, 1))
    assert torch.equal(first.own_k, again.own_k)
    assert not torch.equal(first.q, other.q)


@pytest.mark.parametrize("k", [1, 2, 64, 65, 4096])
def test_checked_rows_have_both_ends(k):
    rows = checked_rows(k)
    assert (rows[0], rows[-1]) == (0, k - 1)
    assert len(rows) == min(k, 64)


@pytest.mark.parametrize("shape", [*SMALL, Shape("Qwen2.5-0.5B", 3, 128, 70)], ids=str)
def test_slabs_hold_the_same_keys(shape):
    x, slabs = inputs_of(shape), to_slabs(shape, inputs_of(shape))
    spans = torch.tensor([[0, shape.prefix_len]]), torch.tensor([[0, shape.num_samples]])
    out = slab_attention(
        slabs.q.double(),
        x.prefix_k.double(),
        x.prefix_v.double(),
        *spans,
        slabs.slab_k.double(),
        slabs.slab_v.double(),
        *slabs.own[2:],
        shape.scale,
        backend="torch",
    )
    assert relative_error(out, every_row(shape)) < 1e-12


@pytest.mark.parametrize("peer", [Sdpa(), Flex(compiled=False)], ids=lambda peer: peer.name)
@pytest.mark.parametrize("shape", SMALL, ids=str)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_torchs_ways_are_right(shape, peer):
    [call] = peer.prepare(shape, [inputs_of(shape)]).calls
    assert relative_error(call(), every_row(shape)) < 1e-5


@pytest.mark.parametrize("shape", SMALL, ids=str)
def test_pages_hold_the_same_keys(shape):
    """Followed level by level, as FlashInfer documents its tables."""
    x, kv = inputs_of(shape), to_pages(shape, inputs_of(shape))
    (H_kv, _, D), tables = shape.heads, Tables.of(shape, torch.device("cpu"))
    (_, offsets, prompt, last), (_, own_offsets, own, own_last) = levels_of(shape, tables)
    assert offsets.tolist() == [0, len(prompt)]
    assert last.item() == PAGE
    for i, (prefix, suffix) in enumerate(((x.prefix_k, x.own_k), (x.prefix_v, x.own_v))):
        shared = kv[prompt.long(), i].reshape(-1, H_kv, D)
        assert torch.equal(shared, prefix.transpose(0, 1))
        for sample in (0, shape.num_samples - 1):
            pages = own[own_offsets[sample] : own_offsets[sample + 1]].long()
            tokens = (len(pages) - 1) * PAGE + int(own_last[sample])
            keys = kv[pages, i].reshape(-1, H_kv, D)[:tokens]
            assert torch.equal(keys, suffix[sample].transpose(0, 1))


def test_choices_are_those_that_fit_and_the_tables_is_among_them():
    shape = Shape("Qwen2.5-0.5B", 1024, 2048)
    q = to_slabs(Shape("Qwen2.5-0.5B", 1, 1, 1), inputs_of(Shape("Qwen2.5-0.5B", 1, 1, 1))).q
    q = q.bfloat16().expand(-1, 1024, -1, -1)
    found = choices_for(shape, "triton", q)
    assert SlabAttention("triton").plan(shape, q).choice in found
    assert all(choice.element_size == 2 and choice.max_head_dim >= 64 for choice in found)


def test_our_calls_are_right():
    """As they are timed: planned before, with and without the prefix kernel's items."""
    require("triton", why_not(slab_attention, "triton"))
    shape, device = Shape("Qwen2.5-0.5B", 9, 128, 20), device_of("triton")
    inputs = make_inputs(shape, 0, device, torch.float32)
    [call] = SlabAttention("triton").prepare(shape, [inputs]).calls
    rows = list(range(shape.num_samples))
    assert relative_error(call(), attention(shape, inputs, rows, torch.float64)) < 1e-5
    slabs = to_slabs(shape, inputs)
    plan = without_prefix_kernel(SlabAttention("triton").plan(shape, slabs.q))
    assert len(plan.items) == 0
    assert call_on(plan, "triton", slabs, shape.scale).shape == call().shape


def test_a_missing_backend_is_a_reason():
    assert our_layout.SlabAttention("cuda").name == "t2 cuda"
    if not torch.cuda.is_available():
        assert "CUDA" in (our_layout.SlabAttention("cuda").why_not(SMALL[0]) or "")
