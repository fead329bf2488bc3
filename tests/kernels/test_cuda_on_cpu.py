"""The CUDA kernels' logic, run on the CPU by the fibers of cuda_on_cpu/: no GPU takes part.

What this cannot see: real races within a warp, alignment faults of plain loads, and speed.
"""

from __future__ import annotations

import ctypes
import math
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
from tests.backends import assert_close, require, to_float64
from tests.cases import (
    MERGE_STATES,
    PHILOX_UNIFORM,
    RMS_NORM,
    SAMPLE_TOKENS,
    SAMPLING_CYCLE,
    SILU_MUL,
    NormCase,
    SampleTokensCase,
)
from tests.ops.test_sample_tokens import assert_drawn
from tests.slab_cases import ROPE_APPEND, STEP_UPDATE, RopeAppendCase, StepUpdateCase

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fibers are Linux's ucontext")
HERE = Path(__file__).parent / "cuda_on_cpu"
CSRC = Path(__file__).parents[2] / "csrc"
LAUNCH = re.compile(r"(\w+(?:<[\w, ]+>)?)\s*<<<(.*?)>>>\(", re.DOTALL)
ELSEWHERE = ["slab_attention.cu"]
STORED = {  # which inputs are of any stored type, all of one
    "rms_norm": (0, 1),
    "silu_mul": (0,),
    "rope_append": (0, 1, 2, 3, 10, 11),
    "sample_tokens": (0,),
    "step_update": (7, 16),
}
CODES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int8: 3}  # t2::Dtype
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
every_dtype = pytest.mark.parametrize("dtype", ROUNDING, ids=lambda x: str(x).split(".")[1])
K, V = 10, 11  # of rope_append's inputs


class Array(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("dtype", ctypes.c_int),
        ("sizes", ctypes.c_int64 * 4),
    )

    @classmethod
    def of(cls, x: Tensor | None) -> Array:
        if x is None:
            return cls()
        assert x.is_contiguous()
        return cls(x.data_ptr(), CODES.get(x.dtype, -1), (ctypes.c_int64 * 4)(*x.shape))


class Device:
    """An imaginary device, on which operations run as on a CUDA device."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))

    def run(self, op: Op, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
        outputs = op.outputs(*inputs)
        function = getattr(self.library, op.name)
        function.restype = ctypes.c_char_p
        arrays = [Array.of(x) for x in (*outputs, *inputs) if not isinstance(x, float)]
        scalars = [x for x in inputs if isinstance(x, float)] or [0.0]
        error = function((Array * len(arrays))(*arrays), *map(ctypes.c_float, scalars))
        if error is not None:
            raise RuntimeError(error.decode())
        return outputs


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        require("cpp", "no C++ compiler")
    folder = tmp_path_factory.mktemp("cuda_on_cpu")
    shutil.copytree(CSRC, folder / "csrc")
    sources = [HERE / "harness.cpp"]
    for path in sorted((folder / "csrc/cuda").glob("*.cu")):
        if path.name in ELSEWHERE:
            continue
        sources.append(path.with_suffix(".cpp"))
        sources[-1].write_text(LAUNCH.sub(r"cuda_on_cpu::launch(\1, \2)(", path.read_text()))
    command = [compiler, "-std=c++17", "-O1", "-w", "-shared", "-fPIC", f"-I{HERE}"]
    target = folder / "cuda_on_cpu.so"
    subprocess.run(
        [*command, f"-I{folder / 'csrc'}", *map(str, sources), "-o", str(target)], check=True
    )
    return Device(target)


def stored(op: Op, inputs: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    """Copies of the inputs, those that are stored in this type."""
    which = STORED[op.name]
    return tuple(
        (x.to(dtype) if i in which else x).clone() if isinstance(x, Tensor) else x
        for i, x in enumerate(inputs)
    )


def misaligned(x: Tensor) -> Tensor:
    """The same values, one element past a multiple of 16 bytes."""
    room = x.new_zeros(x.numel() + 1)
    assert room.data_ptr() % 16 == 0
    return room[1:].view(x.shape).copy_(x)


@pytest.mark.parametrize("case", MERGE_STATES, ids=str)
def test_merge_states(case, device):
    op, inputs = OPS["merge_states"], case.inputs()
    for x, want in zip(device.run(op, inputs), op.reference(*to_float64(inputs)), strict=True):
        assert_close(x, want, atol=1e-6, rtol=1e-5)


@every_dtype
@pytest.mark.parametrize("case", [*RMS_NORM, NormCase(2, 2100), NormCase(2, 4096)], ids=str)
def test_rms_norm(case, dtype, device):
    op = OPS["rms_norm"]
    inputs = stored(op, case.inputs(), dtype)
    (out,) = device.run(op, inputs)
    want = op.reference(*to_float64(inputs))
    assert_close(out, want, atol=2e-6, rtol=1.01 * ROUNDING[dtype])


@every_dtype
@pytest.mark.parametrize("case", SILU_MUL, ids=str)
def test_silu_mul(case, dtype, device):
    op = OPS["silu_mul"]
    inputs = stored(op, case.inputs(), dtype)
    (out,) = device.run(op, inputs)
    want = op.reference(*to_float64(inputs))
    assert_close(out, want, atol=1e-6, rtol=1.01 * ROUNDING[dtype])


@pytest.mark.parametrize("case", PHILOX_UNIFORM, ids=str)
def test_philox_uniform(case, device):
    op, inputs = OPS["philox_uniform"], case.inputs()
    assert torch.equal(device.run(op, inputs)[0], op.reference(*inputs))


@every_dtype
@pytest.mark.parametrize("case", ROPE_APPEND, ids=str)
def test_rope_append(case, dtype, device):
    op = OPS["rope_append"]
    inputs = stored(op, case.inputs(), dtype)
    wanted = to_float64(stored(op, case.inputs(), dtype))
    (out,) = device.run(op, inputs)
    want = op.reference(*wanted)
    close = {"atol": 1e-5, "rtol": 1.01 * ROUNDING[dtype]}
    assert_close(out, want, **close)
    for i in (K, V):
        torch.testing.assert_close(inputs[i].double(), wanted[i], equal_nan=True, **close)


def test_rope_append_of_rows_that_are_not_alive(device):
    """Their position, time and chunks may be anything; their queries have numbers all the same."""
    op, inputs = OPS["rope_append"], list(RopeAppendCase(6, 2, 3, 16, 16, now=20).inputs())
    position, time, alive, row_chunk = inputs[6:10]
    alive[2:] = 0
    position[2:] = torch.tensor([-1, 10**12, -(10**12), 50])
    time[2:], row_chunk[:, 2:] = -1, 10**12
    before = [inputs[i].clone() for i in (K, V)]
    (out,) = device.run(op, tuple(inputs))
    assert out.isfinite().all()
    for i, slab in zip((K, V), before, strict=True):
        written = (inputs[i] == inputs[i]) & (slab != slab)
        assert int(written.sum()) == 2 * 2 * 16


@every_dtype
@pytest.mark.parametrize("case", STEP_UPDATE, ids=str)
def test_step_update(case, dtype, device):
    op = OPS["step_update"]
    inputs, wanted = (stored(op, case.inputs(), dtype) for _ in range(2))
    device.run(op, inputs)
    op.reference(*wanted)
    for got, want in zip(inputs, wanted, strict=True):
        assert torch.equal(got, want)


@every_dtype
@pytest.mark.parametrize("case", SAMPLE_TOKENS, ids=str)
def test_sample_tokens(case, dtype, device):
    op = OPS["sample_tokens"]
    inputs = stored(op, case.inputs(), dtype)
    assert_drawn(inputs, *device.run(op, inputs))


@every_dtype
def test_any_settings(dtype, device):
    rows, vocab_size = 80, 700
    g = torch.Generator().manual_seed(5)
    logits = (4 * torch.randn(rows, vocab_size, generator=g)).mul(2).round() / 2  # with ties
    draw = torch.rand(5, rows, generator=g, dtype=torch.float64)
    temperature, top_p, min_p = 3 * draw[0] + 0.05, 1.05 * draw[2], 0.3 * draw[3] - 0.1
    top_k = (1.2 * vocab_size * draw[1] ** 3).long()
    settings = temperature.float(), top_k, top_p.float(), min_p.float(), draw[4]
    inputs = logits.to(dtype), *settings
    assert_drawn(inputs, *device.run(OPS["sample_tokens"], inputs))


def draw(device, logits, settings, uniform=0.5):
    """Every row by the same settings: temperature, top_k, top_p, min_p."""
    rows = len(logits)
    columns = [torch.full((rows,), x, dtype=torch.float32) for x in settings]
    columns[1] = columns[1].long()
    uniforms = torch.as_tensor(uniform, dtype=torch.float64).expand(rows).contiguous()
    return device.run(OPS["sample_tokens"], (logits, *columns, uniforms))


@every_dtype
def test_equal_logits_are_kept_in_order_of_id(dtype, device):
    rows, vocab_size = 10, 1800
    logits = torch.zeros(rows, vocab_size, dtype=dtype)
    logits[:, ::2] *= -1  # -0 equals 0
    logits[:, 1700] = -1.0
    uniform = torch.linspace(0, 1 - 2.0**-53, rows, dtype=torch.float64)
    total = vocab_size - 1 + math.exp(-1)
    for settings in ((1, 605, 1, 0), (1, 0, 604.5 / total, 0), (1, 1210, 604.5 / 1210, 0)):
        token, logprob = draw(device, logits, settings, uniform)
        assert torch.equal(token, (uniform * 605).long())
        assert_close(logprob, torch.full((rows,), -math.log(605)), atol=1e-5, rtol=0)


@every_dtype
@pytest.mark.parametrize("settings", SAMPLING_CYCLE, ids=str)
def test_a_row_of_logits_alone_or_misaligned_gives_the_same_bits(settings, dtype, device):
    logits = SampleTokensCase(4, 1040).inputs()[0].to(dtype)
    token, logprob = draw(device, logits, settings, [0.1, 0.5, 0.9, 0.99])
    again = draw(device, misaligned(logits), settings, [0.1, 0.5, 0.9, 0.99])
    alone = draw(device, logits[3:], settings, 0.99)
    assert torch.equal(token, again[0])
    assert torch.equal(logprob, again[1])
    assert (token[3], logprob[3]) == (alone[0][0], alone[1][0])


@pytest.mark.parametrize("settings", SAMPLING_CYCLE, ids=str)
def test_a_row_without_a_distribution_has_a_logprob_of_nan(settings, device):
    logits = SampleTokensCase(4, 1500).inputs()[0]
    logits[0], logits[1, 700], logits[2] = -math.inf, math.inf, math.nan
    token, logprob = draw(device, logits, settings)
    assert logprob.isnan().tolist() == [True, True, True, False]
    assert token[:3].tolist() == [0, 0, 0]


def test_a_nan_among_logits_is_not_overlooked_where_all_are_summed(device):
    logits = torch.zeros(1, 1500)
    logits[0, 900] = math.nan
    assert draw(device, logits, (1, 0, 1, 0))[1].isnan()


LARGEST = torch.finfo(torch.float32).max
FILTERS = [(1, 12, 1, 0), (1, 0, 0.8, 0), (1, 0, 1, 0.1), (1, 0, 1, 0)]


@pytest.mark.parametrize("temperature", [1e-42, 1e-3, 0.5, 1e30])
@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2.0**-53])
@pytest.mark.parametrize("settings", FILTERS, ids=str)
def test_the_largest_floats_are_logits_too(temperature, uniform, settings, device):
    logits = torch.full((1, 1300), -math.inf)
    logits[0, [20, 1280]], logits[0, [7, 1290]] = LARGEST, -LARGEST
    token, logprob = draw(device, logits, (temperature, *settings[1:]), uniform)
    assert int(token) in ([20, 1280] if temperature < 1e30 else [7, 20, 1280, 1290])
    assert float(logprob) in (0, pytest.approx(math.log(0.5)), pytest.approx(math.log(0.25)))


@pytest.mark.parametrize("top_p", [0.0, 1e-30])
def test_the_most_probable_token_is_always_kept(top_p, device):
    logits = SampleTokensCase(5, 600).inputs()[0]
    token, logprob = draw(device, logits, (1, 0, top_p, 0))
    assert torch.equal(token, logits.argmax(dim=1))
    assert (logprob == 0).all()


def test_keys_that_crowd_around_zero_are_told_apart(device):
    """Logits of every magnitude: bins of equal width leave most of them in one."""
    logits = torch.logspace(-44, 1, 2048, dtype=torch.float64).float()[None]
    for k in (1, 3, 100, 1900, 2047):
        token, _ = draw(device, logits, (1, k, 1, 0), 0.0)
        assert int(token) == 2048 - k


@every_dtype
def test_rows_of_a_norm_alone_or_misaligned_give_the_same_bits(dtype, device):
    op = OPS["rms_norm"]
    x, weight, eps = stored(op, NormCase(3, 768).inputs(), dtype)
    (out,) = device.run(op, (x, weight, eps))
    assert torch.equal(device.run(op, (misaligned(x), misaligned(weight), eps))[0], out)
    assert torch.equal(device.run(op, (x[2:], weight, eps))[0], out[2:])


@every_dtype
def test_misaligned_rows_of_other_operations(dtype, device):
    op, (gate_up,) = OPS["silu_mul"], SILU_MUL[-1].inputs()
    (out,) = device.run(op, (gate_up.to(dtype),))
    assert torch.equal(device.run(op, (misaligned(gate_up.to(dtype)),))[0], out)
    op, case = OPS["step_update"], StepUpdateCase(9, 30, 64)
    inputs, wanted = (list(stored(op, case.inputs(), dtype)) for _ in range(2))
    inputs[7], inputs[16] = misaligned(inputs[7]), misaligned(inputs[16])
    device.run(op, tuple(inputs))
    op.reference(*wanted)
    assert torch.equal(inputs[7], wanted[7])


def test_types_that_do_not_fit_are_named(device):
    op, (x, weight, eps) = OPS["rms_norm"], NormCase(3, 8).inputs()
    with pytest.raises(RuntimeError, match="rms_norm: weight must be float32, as x is, got float1"):
        device.run(op, (x, weight.half(), eps))
    with pytest.raises(RuntimeError, match="x must be float32, bfloat16 or float16 on CUDA, got i"):
        device.run(op, (x.to(torch.int8), weight.to(torch.int8), eps))
    inputs = list(RopeAppendCase(3, 1, 1, 16, 16).inputs())
    inputs[V] = inputs[V].bfloat16()
    with pytest.raises(RuntimeError, match="slab_v must be float32, as qkv is, got bfloat16"):
        device.run(OPS["rope_append"], tuple(inputs))


def test_too_large_a_vocabulary_is_refused(device):
    with pytest.raises(
        RuntimeError, match="vocab_size must be from 1 to 1572864 on CUDA, got 2000"
    ):
        draw(device, torch.zeros(1, 2_000_000), (1, 0, 1, 0))
