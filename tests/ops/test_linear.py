from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear as torch_linear

from t2engine.ops import linear, pack_strips, pack_weight, silu_mul
from t2engine.ops._packed_weight import WEIGHT_DTYPES, quantize
from tests.backends import assert_close, run_cpu, to_float64
from tests.cases import LINEAR, LinearCase

INT8 = [case for case in LINEAR if case.dtype == torch.int8]
dtypes = pytest.mark.parametrize("dtype", WEIGHT_DTYPES, ids=str)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    if backend == "triton":
        if case.dtype == torch.int8:
            pytest.skip("triton: multiplies no codes")
        x, packed, bias = inputs
        inputs = x, packed.unpack().to(x.dtype), bias
    out = linear(*inputs, backend=backend)
    assert_close(out, linear.reference(*to_float64(inputs)), atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 12, 13, 16, 17, 32, 33, 40, 64, 73, 150])
@dtypes
def test_any_number_of_rows(dtype, rows, native):
    """Against float64, on every instruction set: rows that fill tiles, blocks, and one more."""
    inputs = LinearCase(rows, 131, 75, bias=True, dtype=dtype).inputs()
    want = linear.reference(*to_float64(inputs))
    for isa in native.supported_isas:
        got = run_cpu(native, isa, linear, inputs)[0]
        assert_close(got, want, atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("case", INT8, ids=str)
def test_codes_give_the_same_bits_on_every_instruction_set(case, native):
    inputs = case.inputs()
    for isa in native.supported_isas:
        for want in run_cpu(native, "portable", linear, inputs):
            assert torch.equal(run_cpu(native, isa, linear, inputs)[0], want)


@pytest.mark.parametrize("rows", [1, 5, 64])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_stored_halves_are_those_values_in_float32(dtype, rows, native):
    weight, x = torch.randn(100, 77), torch.randn(rows, 77)
    halves, floats = pack_weight(weight, dtype), pack_weight(weight.to(dtype).float())
    for isa in native.supported_isas:
        (got,) = run_cpu(native, isa, linear, (x, halves, None))
        [want] = run_cpu(native, isa, linear, (x, floats, None))
        if isa == "amxbf16":  # nearer to the exact sum
            exact = linear.reference(x.double(), floats.unpack().double(), None)
            assert (got - exact).abs().mean() < (want - exact).abs().mean()
        else:
            assert torch.equal(got, want)


@pytest.mark.parametrize("rows", [1, 17, 80])
@pytest.mark.parametrize(("dtype", "count"), [(torch.bfloat16, 1), (torch.float16, 2)], ids=str)
def test_the_matrix_unit_adds_products_of_parts_in_the_stated_order(dtype, count, rows, native):
    """Bit for bit by the unit's specification: Intel's Software Developer's Manual, TDPBF16PS."""
    if "amxbf16" not in native.built_isas:
        pytest.skip("the compiler has no AMX: amxbf16 was not built")
    if "amx_bf16" not in processor_flags():
        pytest.skip("no matrix unit for bfloat16 (AMX) on this processor")
    assert "amxbf16" in native.supported_isas, "the processor has AMX, and it is not used"
    x, packed, _ = LinearCase(rows, 75, 20, dtype=dtype).inputs()
    left = torch.nn.functional.pad(x, (0, 21))  # to three steps of 32
    right = torch.nn.functional.pad(packed.unpack().float(), (0, 21))
    want = torch.zeros(rows, 20)
    for step in range(0, 96, 32):
        a = parts_of(left[:, step : step + 32], 3)
        b = parts_of(right[:, step : step + 32], count)
        for i, j in [(2, 0), (1, 0), (1, 1), (0, 1), (0, 0)]:
            if j < count:
                want = want + sum_of_pairs(a[i], b[j])
    assert torch.equal(run_cpu(native, "amxbf16", linear, (x, packed, None))[0], want)


def processor_flags() -> set[str]:
    """What the kernel says of the processor, which the extension asks for itself."""
    cpuinfo = Path("/proc/cpuinfo")
    return set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()


def parts_of(x: Tensor, count: int) -> list[Tensor]:
    """Each eight bits of what the ones before leave."""
    parts = []
    for _ in range(count):
        upper = (x.contiguous().view(torch.int32) & -(1 << 16)).view(torch.float32)
        parts.append(upper)
        x = x - upper
    return parts


def sum_of_pairs(a: Tensor, b: Tensor) -> Tensor:
    """a b^T in float32: even and odd places apart, a fused multiply-add each, joined at the end."""
    sums = [torch.zeros(len(a), len(b)) for _ in range(2)]
    for k in range(a.shape[1]):
        products = a[:, k, None].double() * b[None, :, k].double()  # exact, and so is the sum
        sums[k % 2] = (sums[k % 2].double() + products).float()
    return sums[0] + sums[1]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 13, 80])
@dtypes
def test_a_product_added_to_what_is_there_is_linear_and_an_addition(dtype, rows, bias, native):
    inputs = LinearCase(rows, 130, 75, bias, dtype).inputs()
    for isa in native.supported_isas:
        there = torch.randn(rows, 75)
        want = there + run_cpu(native, isa, linear, inputs)[0]
        for threads in (1, 3):
            out = there.clone()
            getattr(native, isa).product_cpu(
                out, *linear.lower("cpp", *inputs), False, True, threads
            )
            assert torch.equal(out, want)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("width", [1, 16, 40, 250])
@pytest.mark.parametrize("rows", [0, 1, 13, 80])
@dtypes
def test_a_gated_product_is_linear_and_silu_mul(dtype, rows, width, bias, native):
    """Widths that end inside a panel too, where the second half of the weight begins."""
    inputs = LinearCase(rows, 130, 2 * width, bias, dtype).inputs()
    for isa in native.supported_isas:
        want = run_cpu(native, isa, silu_mul, run_cpu(native, isa, linear, inputs))[0]
        for threads in (1, 3):
            out = torch.empty(rows, width)
            getattr(native, isa).product_cpu(
                out, *linear.lower("cpp", *inputs), True, False, threads
            )
            assert torch.equal(out, want)


@pytest.mark.parametrize("depth", [1, 3, 64, 1031])
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_sums_of_codes_are_exact(depth, rows, native):
    """Codes of the largest magnitude, in integers: what could overflow does."""
    codes = torch.randint(0, 2, (50 + rows, depth)) * 254 - 127
    x, weight = codes[:rows].float(), codes[rows:].float()  # the scales are 1
    want = (codes[:rows] @ codes[rows:].T).float()
    for isa in native.supported_isas:
        (got,) = run_cpu(native, isa, linear, (x, pack_weight(weight, torch.int8), None))
        assert torch.equal(got, want)


def test_the_longest_sum_of_codes_fits(native):
    K = 2**17
    x, weight = torch.full((1, K), -1.0), torch.ones(1, K)
    for isa in native.supported_isas:
        (got,) = run_cpu(native, isa, linear, (x, pack_weight(weight, torch.int8), None))
        assert_close(got, torch.tensor([[-float(K)]]), atol=0, rtol=1e-6)
    with pytest.raises(ValueError, match="at most 131072 in_features, got 131073"):
        pack_weight(torch.ones(1, K + 1), torch.int8)


def test_codes_stay_near_the_product_of_what_they_stand_for(native):
    case = LinearCase(33, 768, 200, dtype=torch.int8)
    x, packed, _ = case.inputs()
    generator = case.generator()
    torch.randn(33, 768, generator=generator)
    weight = torch.randn(200, 768, generator=generator) / math.sqrt(768)
    error = linear(x, packed, None, backend="cpp") - torch_linear(x, weight)
    # Two roundings, each uniform within half a step: of weights and of x, both about normal.
    step = x.abs().amax(1, keepdim=True) / 127, weight.abs().amax(1) / 127
    expected = ((step[0] ** 2 + x.square().mean(1, keepdim=True) * 768 * step[1] ** 2) / 12).sqrt()
    assert 0.9 < (error / expected).std() < 1.1


def bad_rows(value: float) -> Tensor:
    x = torch.randn(40, 70)
    x[3, 69], x[20, 0] = value, value
    x[5] = 0
    x[6] *= 1e-35
    return x


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@dtypes
def test_what_is_not_finite_stays_in_its_row_and_is_seen(dtype, value, native):
    x, weight, bias = bad_rows(value), torch.randn(33, 70), torch.randn(33)
    packed = pack_weight(weight, dtype)
    for isa in native.supported_isas:
        (got,) = run_cpu(native, isa, linear, (x, packed, bias))
        assert not got[[3, 20]].isfinite().any()
        assert dtype != torch.int8 or got[[3, 20]].isnan().all()
        others = [row for row in range(40) if row not in (3, 20)]
        assert got[others].isfinite().all()
        assert torch.equal(got[[5]], bias[None])
        assert_close(got[[6]], bias[None], atol=1e-6, rtol=0)


@pytest.mark.parametrize("out_features", [1, 15, 16, 17, 50])
@pytest.mark.parametrize("stored", WEIGHT_DTYPES[:3], ids=str)
@dtypes
def test_packing_keeps_every_weight(out_features, stored, dtype):
    weight = torch.randn(out_features, 7).to(stored)
    packed = pack_weight(weight, dtype)
    assert packed.shape == weight.shape
    if dtype == torch.int8:
        codes, scales = quantize(weight)
        want = codes * scales[:, None]
        assert (want - weight).abs().max() <= 0.51 * scales.max()
    else:
        want = weight.to(dtype)
    assert torch.equal(packed.unpack().to(want), want)
    assert torch.equal(packed.rows(torch.tensor([0, out_features - 1])).to(want), want[[0, -1]])
    past = packed.panels.transpose(1, 2).flatten(0, 1)[out_features:]
    assert not past.any()


@dtypes
def test_packing_natively_gives_the_bits_of_torch(dtype, native, monkeypatch):
    weight = torch.randn(70, 133) * torch.randn(70, 1).exp()
    weight[3], weight[4, :9] = 0, 1e-42
    weight[5, :4] = torch.tensor([65519.0, 65520.0, 2.0**-25, 1.0 + 2.0**-11])
    got = pack_weight(weight, dtype)
    assert torch.equal(got.panels, pack_weight(weight.double(), dtype).panels)
    strips = [weight[:32], weight[32:64], weight[64:]]
    assert torch.equal(got.panels, pack_strips(70, 133, strips, dtype).panels)
    if dtype == torch.int8:
        assert torch.equal(got.scales, pack_weight(weight.double(), dtype).scales)


def test_a_plain_weight_gives_the_bits_of_a_packed_one(backend, device):
    if backend == "triton":
        pytest.skip("triton: takes plain weights alone")
    x, packed, bias = LINEAR[7].inputs(device)
    plain = linear(x, packed.unpack(), bias, backend=backend)
    assert torch.equal(plain, linear(x, packed, bias, backend=backend))


def test_bias_is_where_the_sum_starts(native):
    """A row of zeros gives the bias, and an exact sum with it gives exactly that."""
    x = torch.tensor([[0.0, 0.0], [2.0**-30, 1.0]])
    weight, bias = torch.tensor([[1.0, -1.0]]), torch.tensor([1.0])
    out = linear(x, pack_weight(weight), bias, backend="cpp")
    assert out.tolist() == [[1.0], [0.0]]  # (1 + 2^-30) rounds to 1, then - 1


def test_a_wrong_shape_or_dtype_is_named():
    weight = pack_weight(torch.randn(5, 4))
    with pytest.raises(ValueError, match=r"linear: x must be \[2, 4\], got \[2, 3\]"):
        linear(torch.randn(2, 3), weight, None)
    with pytest.raises(ValueError, match=r"linear: bias must be \[5\], got \[4\]"):
        linear(torch.randn(2, 4), weight, torch.randn(4))
    with pytest.raises(ValueError, match=r"stored as one of .* got torch.float64"):
        pack_weight(torch.randn(5, 4), torch.float64)


def test_panels_that_do_not_fit_are_refused(native):
    out, x = torch.empty(2, 40), torch.randn(2, 4)
    for shape in [(2, 4, 16), (4, 4, 16), (3, 5, 16), (5, 4, 8)]:
        with pytest.raises(ValueError, match="linear: panels must be"):
            native.linear_cpu(out, x, torch.zeros(shape), None, None, 1)
    codes = torch.zeros(3, 1, 64, dtype=torch.int8)
    for scales in (None, torch.ones(40)):
        with pytest.raises(ValueError, match="scales"):
            native.linear_cpu(out, x, codes, scales, None, 1)
    with pytest.raises(ValueError, match="linear: panels must be"):
        native.linear_cpu(out, x, codes[:, :, :32].contiguous(), torch.ones(48), None, 1)
