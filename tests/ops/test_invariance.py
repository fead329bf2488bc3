"""The promises of every C++ kernel: a row's bits depend on the row's inputs alone."""

from __future__ import annotations

import ctypes
import mmap
import sys

import pytest
import torch

from t2engine.ops import OPS, PackedWeight
from tests.backends import assert_close, map_tensors, run_cpu
from tests.cases import CASES

EVERY = [
    pytest.param(OPS[name], case, id=f"{name}-{case}") for name in CASES for case in CASES[name]
]


def assert_same_bits(got, want):
    for x, y in zip(got, want, strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize(("op", "case"), EVERY)
def test_threads_do_not_change_a_bit(op, case, native):
    inputs = case.inputs()
    for isa in native.supported_isas:
        one = run_cpu(native, isa, op, inputs, num_threads=1)
        for num_threads in (2, 4):
            assert_same_bits(run_cpu(native, isa, op, inputs, num_threads), one)


@pytest.mark.parametrize(("op", "case"), EVERY)
def test_other_rows_do_not_change_a_bit(op, case, native):
    inputs = case.inputs()
    for isa in native.supported_isas:
        together = run_cpu(native, isa, op, inputs)
        count = together[0].shape[0]
        for rows in ([0], [count - 1], list(range(count))[::-1], list(range(1, count, 3))):
            if count and rows:
                alone = run_cpu(native, isa, op, case.take(inputs, rows))
                assert_same_bits(alone, [x[rows] for x in together])


@pytest.mark.parametrize(("op", "case"), EVERY)
def test_instruction_sets_agree(op, case, native):
    inputs = case.inputs()
    results = {isa: run_cpu(native, isa, op, inputs) for isa in native.supported_isas}
    own_bits = {"portable"} | ({"amxbf16"} if has_halves(inputs) else set())
    fused = [result for isa, result in results.items() if isa not in own_bits]
    for result in fused[1:]:
        assert_same_bits(result, fused[0])
    common = fused[0] if fused else results["portable"]
    for result in results.values():
        for got, want in zip(result, common, strict=True):
            assert_close(got, want, atol=1e-5, rtol=1e-5)


def has_halves(inputs):
    """Whether a weight is held in 16 bits, which amxbf16 multiplies in parts."""
    halves = (torch.bfloat16, torch.float16)
    return any(isinstance(x, PackedWeight) and x.dtype in halves for x in inputs)


def fenced(x: torch.Tensor, at_end: bool) -> torch.Tensor:
    """A copy that touches, at its end or its start, a page on which any access is a crash."""
    page = mmap.PAGESIZE
    inside = -(-max(x.nbytes, 1) // page) * page
    memory = mmap.mmap(-1, inside + page)  # lives as long as the tensor made from it
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fence = start + inside if at_end else start
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    if x.numel() == 0:
        return x
    offset = inside - x.nbytes if at_end else page
    copy = torch.frombuffer(memory, dtype=x.dtype, count=x.numel(), offset=offset)
    return copy.view(x.shape).copy_(x)


@pytest.mark.skipif(sys.platform != "linux", reason="fences memory with Linux's mprotect")
@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize(("op", "case"), EVERY)
def test_no_access_outside_the_tensors(op, case, at_end, native):
    inputs = case.inputs()
    for isa in native.supported_isas:
        want = run_cpu(native, isa, op, inputs)
        inside = map_tensors(inputs, lambda x: fenced(x, at_end))
        outputs = tuple(fenced(x, at_end) for x in op.outputs(*inputs))
        assert_same_bits(run_cpu(native, isa, op, inside, outputs=outputs), want)
