"""The CUDA kernels' logic, run on the CPU by the fibers of cuda_on_cpu/: no GPU takes part.

What this cannot see: real races within a warp, alignment faults of plain loads, and speed.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from t2engine.ops import OPS, Op
from tests.attention_cases import SHARED_PREFIX_ATTENTION, SharedPrefixCase
from tests.backends import assert_close, require, to_float64
from tests.cases import MERGE_STATES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fibers are Linux's ucontext")
HERE = Path(__file__).parent / "cuda_on_cpu"
CSRC = Path(__file__).parents[2] / "csrc"
LAUNCH = re.compile(r"(\w+)<<<(.*?)>>>\(", re.DOTALL)


class Device:
    """An imaginary device of few processors, on which operations run as on a CUDA device."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))

    def run(self, op: Op, inputs: tuple[Any, ...], *sizes: int) -> tuple[Tensor, ...]:
        outputs = op.outputs(*inputs)
        function = getattr(self.library, op.name)
        function.restype = ctypes.c_char_p
        tensors = [x for x in (*outputs, *inputs) if isinstance(x, Tensor)]
        scalars = [ctypes.c_float(x) for x in inputs if isinstance(x, float)]
        pointers = [ctypes.c_void_p(x.data_ptr()) for x in tensors]
        error = function(*pointers, (ctypes.c_int64 * len(sizes))(*sizes), *scalars)
        if error is not None:
            raise RuntimeError(error.decode())
        return outputs


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        require("cpp", "no C++ compiler")
    folder = tmp_path_factory.mktemp("cuda_on_cpu")
    shutil.copytree(CSRC, folder / "csrc")
    sources = [HERE / "harness.cpp"]
    for path in sorted((folder / "csrc/cuda").glob("*.cu")):
        sources.append(path.with_suffix(".cpp"))
        sources[-1].write_text(LAUNCH.sub(r"cuda_on_cpu::launch(\1, \2)(", path.read_text()))
    command = [compiler, "-std=c++17", "-O1", "-w", "-shared", "-fPIC", f"-I{HERE}"]
    target = folder / "cuda_on_cpu.so"
    subprocess.run(
        [*command, f"-I{folder / 'csrc'}", *map(str, sources), "-o", str(target)], check=True
    )
    return target


# Copies that land as late as they may find a missing wait; as early, one that overwrites what
# another thread still reads. Few and many processors give one and several splits of the keys.
@pytest.fixture(params=[(1, False, 0), (64, True, 1)], ids=["late-copies", "early-copies"])
def device(request: pytest.FixtureRequest, library: Path) -> Device:
    device = Device(library)
    device.library.configure(*request.param)
    return device


@pytest.mark.parametrize("case", MERGE_STATES, ids=str)
def test_merge_states(case, device):
    op, inputs = OPS["merge_states"], case.inputs()
    got = device.run(op, inputs, *inputs[0].shape)
    for x, want in zip(got, op.reference(*to_float64(inputs)), strict=True):
        assert_close(x, want, atol=1e-6, rtol=1e-5)


def sizes(inputs: tuple[Any, ...]) -> tuple[int, ...]:
    q, prefix_k, _, prefix_bounds, _, suffix_k, *_ = inputs
    slots, _, suffix_size, _ = suffix_k.shape
    return (*q.shape, *prefix_k.shape[:2], len(prefix_bounds), slots, suffix_size)


@pytest.mark.parametrize("case", SHARED_PREFIX_ATTENTION, ids=str)
def test_shared_prefix_attention(case, device):
    op, inputs = OPS["shared_prefix_attention"], case.inputs()
    (out,) = device.run(op, inputs, *sizes(inputs))
    want = op.reference(*to_float64(inputs))
    assert_close(out, want, atol=8e-6 * case.sharpness, rtol=0)


def test_rows_that_are_not_16_byte_aligned(device):
    """A dense view may start anywhere; the kernels then copy float by float."""
    op = OPS["shared_prefix_attention"]
    inputs = SharedPrefixCase((5, 2), (20, 33), 6, 2, 64, 19).inputs()
    shifted = torch.cat([torch.zeros(1), inputs[1].flatten()])[1:].view(inputs[1].shape)
    assert shifted.data_ptr() % 16 == 4
    (out,) = device.run(op, (inputs[0], shifted, *inputs[2:]), *sizes(inputs))
    assert_close(out, op.reference(*to_float64(inputs)), atol=8e-6, rtol=0)


def test_too_wide_a_head_is_refused(device):
    op, inputs = OPS["shared_prefix_attention"], SharedPrefixCase((1,), (2,), 1, 1, 260).inputs()
    with pytest.raises(RuntimeError, match="head_dim must be at most 256 on CUDA, got 260"):
        device.run(op, inputs, *sizes(inputs))
