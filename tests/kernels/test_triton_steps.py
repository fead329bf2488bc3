"""Triton kernels of a decode step in half precision, and the rows that have ended."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chisquare

from t2engine.ops import (
    philox_uniform,
    rms_norm,
    rope_append,
    sample_tokens,
    silu_mul,
    step_update,
)
from t2engine.ops.sample_tokens import distribution
from tests.backends import (
    assert_close,
    device_of,
    map_tensors,
    require,
    to_float64,
    why_not,
)
from tests.cases import ActivationCase, NormCase, SampleTokensCase
from tests.slab_cases import RopeAppendCase, StepUpdateCase

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
NEAR = 2e-6  # a uniform this close to a boundary may fall on either side of it


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def device() -> str:
    require("triton", why_not(rms_norm, "triton"))
    return device_of("triton")


def cast(inputs, dtype):
    """What is random in the tensors to dtype."""
    return map_tensors(inputs, lambda x: x.to(dtype) if x.is_floating_point() else x)


@pytest.mark.parametrize("case", [NormCase(3, 100), NormCase(1, 16384)], ids=str)
def test_rms_norm(case, dtype, device):
    inputs = cast(case.inputs(device), dtype)
    out = rms_norm(*inputs, backend="triton")
    assert out.dtype == dtype
    want = rms_norm.reference(*to_float64(inputs))
    assert_close(out, want, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("case", [ActivationCase(3, 40), ActivationCase(2, 2049)], ids=str)
def test_silu_mul(case, dtype, device):
    inputs = cast(case.inputs(device), dtype)
    out = silu_mul(*inputs, backend="triton")
    assert out.dtype == dtype
    want = silu_mul.reference(*to_float64(inputs))
    assert_close(out, want, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


ROPE = [
    RopeAppendCase(4, 2, 7, 64, 64, bias=True, now=37),
    RopeAppendCase(3, 1, 8, 80, 32, bias=True, norm=True, now=16),
    RopeAppendCase(3, 2, 3, 96, 0),
    RopeAppendCase(3, 1, 2, 128, 128, norm=True, now=200),
    RopeAppendCase(2, 1, 1, 256, 64, norm=True),
]


@pytest.mark.parametrize("case", ROPE, ids=str)
def test_rope_append(case, dtype, device):
    inputs = list(cast(case.inputs(device), dtype))
    inputs[4:6] = (x.float() for x in inputs[4:6])
    want_inputs = to_float64(tuple(x.clone() if torch.is_tensor(x) else x for x in inputs))
    out = rope_append(*inputs, backend="triton")
    assert out.dtype == dtype
    want = rope_append.reference(*want_inputs)
    tolerance = {"atol": 2 * TOLERANCE[dtype], "rtol": TOLERANCE[dtype]}
    assert_close(out, want, **tolerance)
    for got, stored in zip(inputs[10:12], want_inputs[10:12], strict=True):
        torch.testing.assert_close(got.double(), stored, equal_nan=True, **tolerance)


def test_a_row_that_has_ended_stores_no_key_whatever_its_place(device):
    inputs = list(RopeAppendCase(6, 2, 2, 32, 32, now=20).inputs(device))
    position, time, alive, row_chunk, keys, values = inputs[6:12]
    alive[:] = torch.tensor([1, 0, 1, 0, 0, 1])
    want_inputs = to_float64(tuple(x.clone() if torch.is_tensor(x) else x for x in inputs))
    ended = alive == 0
    position[ended], time[ended], row_chunk[:, ended] = 10**12, -(10**12), 10**12
    out = rope_append(*inputs, backend="triton")
    want = rope_append.reference(*want_inputs)
    assert_close(out[:, ~ended], want[:, ~ended], atol=1e-5, rtol=1e-5)
    for got, stored in ((keys, want_inputs[10]), (values, want_inputs[11])):
        torch.testing.assert_close(got.double(), stored, atol=1e-5, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize("hidden", [torch.float32, torch.float16], ids=str)
def test_a_row_that_has_ended_is_left_as_it_is(hidden, device):
    inputs = list(StepUpdateCase(8, 9, 20).inputs(device))
    inputs[7], inputs[16] = inputs[7].to(hidden), inputs[16].to(hidden)
    inputs[1][:] = torch.tensor([1, 0] * 4)
    want = [x.clone() for x in inputs]
    ended = inputs[1] == 0
    for index in (0, 10):  # the token and the end set
        inputs[index][ended] = 10**12
        want[index][ended] = 0
    step_update(*inputs, backend="triton")
    step_update.reference(*want)
    for index in (1, 2, 3, 4, 5, 6, 7, 8):
        assert torch.equal(inputs[index], want[index]), index


def assert_drawn_as_by_reference(inputs):
    token, logprob = sample_tokens(*inputs, backend="triton")
    for row in range(len(token)):
        logits, *settings, uniform = (x[row] for x in inputs)
        p = distribution(logits.double(), *(x.item() for x in settings))
        cumulative = p.cumsum(dim=0)
        want = int((cumulative <= uniform * cumulative[-1]).sum())
        got = int(token[row])
        if got != want:
            low, high = min(got, want), max(got, want)
            assert (cumulative[low:high] - uniform).abs().max() < NEAR, (row, got, want)
        assert float(logprob[row]) == pytest.approx(float(p[got].log()), abs=2e-5)


@pytest.mark.parametrize("vocab_size", [5000])
def test_sample_tokens(vocab_size, dtype, device):
    logits, *rest = SampleTokensCase(12, vocab_size).inputs(device)
    assert_drawn_as_by_reference((logits.to(dtype), *rest))


@pytest.mark.parametrize("block", [64, 128])
def test_any_settings_in_many_blocks(block, device, monkeypatch):
    """A list that few of the tokens fit, so that the row is gone over again."""
    monkeypatch.setattr("t2engine.kernels.sample_tokens.BLOCK", block)
    rows, vocab_size, g = 12, 700, torch.Generator().manual_seed(5)
    logits = (4 * torch.randn(rows, vocab_size, generator=g)).mul(2).round() / 2  # with ties
    logits[::3] /= 20
    logits[1::3, ::5] = -math.inf
    draw = torch.rand(5, rows, generator=g, dtype=torch.float64)
    temperature, top_p, min_p = 3 * draw[0] + 0.05, 1.05 * draw[2], 0.3 * draw[3] - 0.1
    top_k = (1.2 * vocab_size * draw[1] ** 3).long()
    top_k[::4] = 0
    inputs = logits, temperature.float(), top_k, top_p.float(), min_p.float(), draw[4]
    assert_drawn_as_by_reference([x.to(device) for x in inputs])


def test_a_row_is_drawn_alone_as_in_a_batch(device):
    inputs = SampleTokensCase(12, 5000, spread=0.1).inputs(device)
    together = sample_tokens(*inputs, backend="triton")
    for row in (0, 3, 6, 11):
        alone = sample_tokens(*(x[row : row + 1] for x in inputs), backend="triton")
        for got, want in zip(alone, together, strict=True):
            assert torch.equal(got, want[row : row + 1])


SETTINGS = {"temperature": (0.7, 0, 1.0, 0.0), "every filter": (1.2, 9, 0.9, 0.02)}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_draws_have_the_reference_distribution(setting, device):
    draws, vocab_size = 150, 9
    row = torch.randn(vocab_size, generator=torch.Generator().manual_seed(3)) * 1.5
    index = torch.arange(draws, device=device)
    uniform = philox_uniform(
        torch.full_like(index, 11), index // 100, index % 100, index * 0, backend="triton"
    )
    dtypes = (torch.float32, torch.int64, torch.float32, torch.float32)
    columns = [
        torch.full((draws,), value, dtype=kind, device=device)
        for value, kind in zip(setting, dtypes, strict=True)
    ]
    logits = row.expand(draws, -1).contiguous().to(device)
    token, _ = sample_tokens(logits, *columns, uniform, backend="triton")
    p = distribution(row.double(), *(column[0].item() for column in columns))
    seen = token.cpu().bincount(minlength=vocab_size)
    assert (seen[p == 0] == 0).all()
    kept = p > 0
    assert chisquare(seen[kept].numpy(), (draws * p[kept]).numpy()).pvalue > 1e-3


@pytest.mark.filterwarnings("ignore:overflow encountered")  # the interpreter's, of inf
@pytest.mark.parametrize("setting", [*SETTINGS.values(), (0.0, 0, 1.0, 0.0), (-1.0, 3, 0.5, 0.0)])
def test_a_row_without_a_distribution_gives_a_token_all_the_same(setting, device):
    logits = torch.full((5, 40), -math.inf, device=device)
    logits[1] = math.nan
    logits[2, 7] = logits[3, 7] = logits[4, 7] = 1.0
    logits[3, 3], logits[4, 20] = math.nan, math.inf
    dtypes = (torch.float32, torch.int64, torch.float32, torch.float32)
    columns = [
        torch.full((5,), value, dtype=kind, device=device)
        for value, kind in zip(setting, dtypes, strict=True)
    ]
    uniform = torch.full((5,), 0.99, dtype=torch.float64, device=device)
    token, logprob = sample_tokens(logits, *columns, uniform, backend="triton")
    assert token.tolist() == [0, 0, 7, 7, 20]
    assert logprob.isnan().tolist() == [True, True, False, False, False]
    assert (logprob[2:] == 0).all()
