"""Each of slab_attention's CUDA kernels, in every dtype it takes.

They run on the CPU by the fibers of cuda_on_cpu/, and on the GPU where there is one. What the CPU
cannot see: real races within a warp, alignment faults of plain loads, and speed.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from t2engine.ops import slab_attention
from t2engine.ops._attention_plan import AttentionPlan, plan_attention
from t2engine.ops._prefix_choices import PREFIX_CHOICES, choose_prefix
from t2engine.ops.slab_attention import planned, segments_of
from tests.backends import assert_close, map_tensors, require, to_float64
from tests.kernels.cuda_library import build_library
from tests.slab_cases import SLAB_ATTENTION, TWO_LEVELS, SlabCase, one_prompt

SOURCES = ["slab_attention.cu", "hopper/wgmma_prefix.cu"]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]  # in the order of the harness
# Half precision rounds the weights and the output; their errors add up to a few of its units.
TOLERANCE = {torch.float32: 4e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
KERNELS = [c for c in PREFIX_CHOICES if c.backend == "cuda"]


class Gpu:
    where = "cuda"

    def run(self, plan: AttentionPlan, q: Tensor, *inputs: Any) -> Tensor:
        (out,) = slab_attention.outputs(q)
        slab_attention.load("cuda")(out, *planned(plan, q, *inputs))
        return out


class Fibers:
    """An imaginary device of few processors, on which slab_attention runs as on a CUDA device."""

    where = "cpu"

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.slab_attention.restype = ctypes.c_char_p

    def run(self, plan: AttentionPlan, q: Tensor, *inputs: Any) -> Tensor:
        (out,) = slab_attention.outputs(q)
        *tensors, scale, kernel = planned(plan, q, *inputs)
        prefix_k, spans, slab_k, row_chunk = tensors[1], tensors[6], tensors[9], tensors[11]
        num_states, (chunks, _, T, _) = tensors[7].shape[0], slab_k.shape
        counts = (prefix_k.shape[1], plan.items.shape[0], spans.shape[0], num_states)
        sizes = (*q.shape, *counts, chunks, T, row_chunk.shape[0])
        error = self.library.slab_attention(
            *(ctypes.c_void_p(x.data_ptr()) for x in (out, *tensors)),
            (ctypes.c_int64 * len(sizes))(*sizes),
            ctypes.c_float(scale),
            kernel.encode(),
            DTYPES.index(q.dtype),
        )
        if error is not None:
            raise RuntimeError(error.decode())
        return out


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform != "linux":
        pytest.skip("fibers are Linux's ucontext")
    return build_library(tmp_path_factory.mktemp("attention"), "attention_harness.cpp", SOURCES)


Device = Gpu | Fibers
# Copies that land slowly, or as late as they may, find a missing wait; as early, one that
# overwrites what another thread still reads. Few and many processors give one and several items to
# a block.
FIBERS = {"late-copies": (2, False, 0), "early-copies": (64, True, 1)}


@pytest.fixture(params=[*FIBERS, "gpu"])
def device(request: pytest.FixtureRequest) -> Device:
    if request.param == "gpu":
        require("cuda", slab_attention.why_not("cuda", "cuda"))
        return Gpu()
    fibers = Fibers(request.getfixturevalue("library"))
    fibers.library.configure(*FIBERS[request.param])
    return fibers


def need_hopper(device: Device, kernel: str) -> None:
    if device.where == "cuda" and kernel == "wgmma128":
        capability = torch.cuda.get_device_capability()
        require("cuda", None if capability[0] == 9 else "wgmma128 runs on Hopper alone")


def cast(inputs: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    return map_tensors(inputs, lambda x: x.to(dtype) if x.is_floating_point() else x)


def plan_of(inputs: tuple[Any, ...], kernel: str, **how: Any) -> AttentionPlan:
    q, *_, columns, rows = inputs[:5]
    fits = [c for c in KERNELS if c.kernel == kernel and c.min_head_dim <= q.shape[3]]
    choice = next(c for c in fits if q.shape[3] <= c.max_head_dim)
    return plan_attention(segments_of(columns, rows), q, "cuda", choice=choice, **how)


def run(device: Device, plan: AttentionPlan, inputs: tuple[Any, ...]) -> Tensor:
    q, k, v, _, _, *own = inputs
    return device.run(plan, q, k, v, *own)


def check(device: Device, case: SlabCase, kernel: str, dtype: torch.dtype, **how: Any) -> None:
    need_hopper(device, kernel)
    inputs = cast(case.inputs(device.where), dtype)
    out = run(device, plan_of(inputs, kernel, **how), inputs)
    assert out.dtype == dtype
    want = slab_attention.reference(*to_float64(inputs))
    tolerance = TOLERANCE[dtype] * max(1.0, case.sharpness)
    assert_close(out, want, atol=tolerance, rtol=0 if dtype == torch.float32 else tolerance)


COMBINATIONS = [("fma64", torch.float32)]
COMBINATIONS += [(k, d) for k in ("mma16", "mma64") for d in (torch.float16, torch.bfloat16)]


@pytest.mark.parametrize(("kernel", "dtype"), COMBINATIONS, ids=str)
@pytest.mark.parametrize("case", SLAB_ATTENTION, ids=str)
def test_slab_attention(case, kernel, dtype, device):
    check(device, case, kernel, dtype)


@pytest.mark.parametrize(("kernel", "dtype"), COMBINATIONS, ids=str)
@pytest.mark.parametrize("case", SLAB_ATTENTION[5:40:3], ids=str)
def test_without_inlining(case, kernel, dtype, device):
    """In invariant mode every segment, however short, is the prefix kernel's."""
    check(device, case, kernel, dtype, invariant=True)


WGMMA = [
    *(SlabCase(one_prompt(5, P), 5, 2, 2, D, 3) for P in (1, 127, 128, 600) for D in (64, 128)),
    SlabCase(TWO_LEVELS, 12, 1, 7, 128, 33),
    SlabCase(one_prompt(70, 1100), 70, 1, 3, 64, 16, slab=64),  # more queries than a tile
    SlabCase(one_prompt(3, 64), 6, 2, 2, 64, 20),  # rows after the prompt's: padding
    SlabCase(one_prompt(6, 200), 6, 2, 2, 64, 50, sharpness=30.0),
]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("invariant", [False, True], ids=["splits-by-device", "invariant"])
@pytest.mark.parametrize("case", WGMMA, ids=str)
def test_wgmma(case, invariant, dtype, device):
    check(device, case, "wgmma128", dtype, invariant=invariant)


EVERY = [*COMBINATIONS, ("wgmma128", torch.bfloat16)]


def shifted(x: Tensor) -> Tensor:
    """The same, an element after a multiple of 16 bytes."""
    moved = torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape)
    assert moved.data_ptr() % 16 == x.element_size()
    return moved


@pytest.mark.parametrize(("kernel", "dtype"), EVERY, ids=str)
def test_more_sharers_than_a_block_takes(kernel, dtype, device):
    check(device, SlabCase(one_prompt(3, 130), 3, 2, 19, 64, 20), kernel, dtype)


@pytest.mark.parametrize(("kernel", "dtype"), EVERY, ids=str)
def test_empty_items_do_nothing(kernel, dtype, device):
    """A recorded step has a fixed number of items, of which the last may be none."""
    need_hopper(device, kernel)
    inputs = cast(SlabCase(TWO_LEVELS, 12, 2, 2, 64, 9).inputs(device.where), dtype)
    plan = plan_of(inputs, kernel, invariant=True)
    padded = replace(plan, items=torch.nn.functional.pad(plan.items, (0, 0, 0, 9)))
    assert torch.equal(run(device, padded, inputs), run(device, plan, inputs))


@pytest.mark.parametrize(("kernel", "dtype"), EVERY, ids=str)
def test_a_row_alone_has_the_same_bits(kernel, dtype, device):
    case = SlabCase(((0, 40, 256), (0, 21, 140), (21, 40, 70)), 40, 1, 2, 64, 30)
    need_hopper(device, kernel)
    inputs = cast(case.inputs(device.where), dtype)
    together = run(device, plan_of(inputs, kernel, invariant=True), inputs)
    for row in (0, 20, 33):
        alone = case.take(inputs, [row])
        out = run(device, plan_of(alone, kernel, invariant=True), alone)
        assert torch.equal(out[0], together[row])


@pytest.mark.parametrize(("kernel", "dtype"), EVERY, ids=str)
def test_rows_that_are_not_16_byte_aligned(kernel, dtype, device):
    """A dense view may start anywhere; the kernels then copy element by element."""
    need_hopper(device, kernel)
    q, k, *rest = cast(SlabCase(TWO_LEVELS, 12, 2, 2, 64, 9).inputs(device.where), dtype)
    # Boxes of keys and values are copied by the device, which cannot do that.
    inputs = (shifted(q), k if kernel == "wgmma128" else shifted(k), *rest)
    out = run(device, plan_of(inputs, kernel, invariant=True), inputs)
    want = slab_attention.reference(*to_float64(inputs))
    assert_close(out, want, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize(("which", "got"), [(1, "2 and 0"), (2, "0 and 2")])
def test_wgmma_refuses_boxes_that_are_not_16_byte_aligned(which, got, device):
    need_hopper(device, "wgmma128")
    case = SlabCase(one_prompt(5, 130), 5, 2, 2, 64, 9)
    inputs = list(cast(case.inputs(device.where), torch.float16))
    inputs[which] = shifted(inputs[which])
    message = f"start at multiples of 16 bytes, got {got} bytes more"
    with pytest.raises((RuntimeError, ValueError), match=message):
        run(device, plan_of(tuple(inputs), "wgmma128", invariant=True), tuple(inputs))


def test_what_the_driver_refuses_is_an_error_that_names_the_call(library):
    """A head of 2^40 bytes is too large to have boxes of."""
    fibers = Fibers(library)
    q, k, *rest = cast(SlabCase(one_prompt(5, 130), 5, 1, 2, 64, 9).inputs(), torch.float16)
    inputs = (q, k[:, :1].expand(1, 1 << 33, 64), *rest)
    with pytest.raises(RuntimeError, match="cuTensorMapEncodeTiled: CUresult 1"):
        run(fibers, plan_of(inputs, "wgmma128", invariant=True), inputs)


@pytest.mark.parametrize("kernel", ["mma16", "mma64"])
def test_a_head_of_odd_width(kernel, device):
    check(device, SlabCase(one_prompt(5, 130), 5, 1, 2, 37, 9), kernel, torch.float16)


REFUSALS = [  # kernel, dtype, head_dim, scale, message
    ("mma64", torch.float32, 64, 1.0, "float32 has no kernel named mma64 on CUDA"),
    ("fma64", torch.float16, 64, 1.0, "16-bit types have no kernel named fma64 on CUDA"),
    ("mma64", torch.float16, 64, 0.0, "scale must be positive on CUDA, got 0"),
    ("wgmma128", torch.float16, 80, 1.0, "wgmma128 takes head_dim 64 or 128, got 80"),
    ("fma64", torch.float32, 260, 1.0, "head_dim must be at most 256 on CUDA, got 260"),
]


@pytest.mark.parametrize(("kernel", "dtype", "head_dim", "scale", "message"), REFUSALS)
def test_what_has_no_kernel_is_refused(kernel, dtype, head_dim, scale, message, device):
    case = SlabCase(one_prompt(20, 130), 20, 1, 2, head_dim)
    inputs = cast(case.inputs(device.where), dtype)
    choice = next(c for c in KERNELS if c.kernel == kernel)
    segments = segments_of(*inputs[3:5])
    plan = plan_attention(segments, inputs[0], "cuda", choice=choice)
    with pytest.raises((RuntimeError, ValueError), match=message):
        run(device, plan, (*inputs[:-1], scale))


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_wgmma_is_taken_by_name_alone(capability):
    """Until a GPU has run it, nothing that names no kernel gets it."""
    wide = ("cuda", capability, 2, 128)
    assert choose_prefix(*wide, 16).kernel == "mma16"
    assert choose_prefix(*wide, 1 << 20).kernel == "mma64"
    assert choose_prefix("cuda", capability, 4, 128, 1 << 20).kernel == "fma64"
    if capability == 90:
        assert choose_prefix(*wide, 1 << 20, "wgmma128").tile_rows == 128
        return
    with pytest.raises(ValueError, match="slab_attention: cuda has no kernel"):
        choose_prefix(*wide, 1 << 20, "wgmma128")
