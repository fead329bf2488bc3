from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chisquare

from t2engine.ops import philox_uniform, sample_tokens
from t2engine.ops.sample_tokens import distribution
from tests.cases import SAMPLE_TOKENS, SAMPLING_CYCLE, SampleTokensCase

NEAR = 2e-6  # a uniform this close to a boundary may fall on either side of it


def settings_of(inputs, row):
    logits, temperature, top_k, top_p, min_p, _ = inputs
    return (
        logits[row].double(),
        float(temperature[row]),
        int(top_k[row]),
        float(top_p[row]),
        float(min_p[row]),
    )


def assert_drawn_as_by_reference(inputs, backend):
    assert_drawn(inputs, *sample_tokens(*inputs, backend=backend))


def assert_drawn(inputs, token, logprob):
    for row in range(len(token)):
        p = distribution(*settings_of(inputs, row))
        cumulative, uniform = p.cumsum(dim=0), float(inputs[-1][row])
        want = int((cumulative <= uniform * cumulative[-1]).sum())
        got = int(token[row])
        if got != want:
            low, high = min(got, want), max(got, want)
            assert (cumulative[low:high] - uniform).abs().max() < NEAR, (row, got, want)
        assert float(logprob[row]) == pytest.approx(float(p[got].log()), abs=2e-5)


@pytest.mark.parametrize("case", SAMPLE_TOKENS, ids=str)
def test_backend_matches_reference(case, backend, device):
    assert_drawn_as_by_reference(case.inputs(device), backend)


def test_any_settings(native):
    rows, vocab_size = 500, 700
    g = torch.Generator().manual_seed(5)
    logits = (4 * torch.randn(rows, vocab_size, generator=g)).mul(2).round() / 2  # with ties
    draw = torch.rand(5, rows, generator=g, dtype=torch.float64)
    temperature, top_p, min_p = 3 * draw[0] + 0.05, 1.05 * draw[2], 0.3 * draw[3] - 0.1
    top_k = (1.2 * vocab_size * draw[1] ** 3).long()
    inputs = logits, temperature.float(), top_k, top_p.float(), min_p.float(), draw[4]
    assert_drawn_as_by_reference(inputs, "cpp")


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2.0**-53])
@pytest.mark.parametrize("settings", SAMPLING_CYCLE, ids=str)
def test_a_logit_of_minus_infinity_is_never_drawn(settings, uniform, backend, device):
    logits = torch.full((1, 700), -math.inf, device=device)
    allowed = [3, 255, 256, 500]
    logits[0, allowed] = torch.tensor([0.0, -1.0, 1.0, 0.5], device=device)
    temperature, top_k, top_p, min_p = settings
    inputs = (logits, *(torch.tensor([x], device=device) for x in (temperature, top_k, top_p)))
    rest = (
        torch.tensor([min_p], device=device),
        torch.tensor([uniform], dtype=torch.float64, device=device),
    )
    token, logprob = sample_tokens(*inputs, *rest, backend=backend)
    assert int(token) in allowed
    assert -10 < float(logprob) <= 0


def one_setting(rows, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    return (
        torch.full((rows,), temperature),
        torch.full((rows,), top_k),
        torch.full((rows,), top_p),
        torch.full((rows,), min_p),
    )


FILTERS = {
    "temperature": {"temperature": 0.7},
    "top_k": {"top_k": 12},
    "top_p": {"top_p": 0.8},
    "min_p": {"min_p": 0.1},
}


@pytest.mark.parametrize("setting", FILTERS.values(), ids=FILTERS)
def test_draws_have_the_reference_distribution(setting, native):
    """Chi-square of 100,000 draws with the engine's own uniforms."""
    draws, vocab_size = 100_000, 60
    logits = torch.randn(vocab_size, generator=torch.Generator().manual_seed(3)) * 1.5
    inputs = one_setting(draws, **setting)
    index = torch.arange(draws)
    uniform = philox_uniform(torch.full_like(index, 11), index // 1000, index % 1000, index * 0)
    rows = logits.expand(draws, -1).contiguous()
    token, logprob = sample_tokens(rows, *inputs, uniform, backend="cpp")
    p = distribution(*settings_of((rows, *inputs, uniform), 0))
    seen = token.bincount(minlength=vocab_size)
    assert (seen[p == 0] == 0).all()
    kept = p > 0
    assert chisquare(seen[kept].numpy(), (draws * p[kept]).numpy()).pvalue > 1e-3
    torch.testing.assert_close(logprob.double(), p[token].log(), atol=1e-5, rtol=0)


def test_equal_logits_are_kept_in_order_of_id(backend, device):
    rows, vocab_size = 25, 600
    logits = torch.zeros(rows, vocab_size, device=device)
    logits[:, 500] = -1.0
    uniform = torch.linspace(0, 1 - 2.0**-53, rows, dtype=torch.float64, device=device)
    for setting in ({"top_k": 5}, {"top_p": 4.5 / 599.4}, {"top_k": 300, "top_p": 0.0149}):
        inputs = [x.to(device) for x in one_setting(rows, **setting)]
        token, _ = sample_tokens(logits, *inputs, uniform, backend=backend)
        assert token.unique().tolist() == [0, 1, 2, 3, 4]


def test_temperature_zero_takes_the_lowest_of_the_best(backend, device):
    logits = torch.zeros(1, 1000, device=device)
    logits[0, [300, 700]] = 2.0
    inputs = [x.to(device) for x in one_setting(1, temperature=0.0)]
    token, logprob = sample_tokens(
        logits, *inputs, torch.tensor([0.99], dtype=torch.float64, device=device), backend=backend
    )
    assert (int(token), float(logprob)) == (300, 0.0)


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-42])
def test_a_tiny_temperature_does_not_overflow(temperature, native):
    logits = torch.tensor([[-1e38, 3.0, 3e38, -math.inf]])
    token, logprob = sample_tokens(
        logits, *one_setting(1, temperature), torch.zeros(1, dtype=torch.float64), backend="cpp"
    )
    assert (int(token), float(logprob)) == (2, 0.0)


LARGEST = torch.finfo(torch.float32).max


@pytest.mark.parametrize("temperature", [1e-42, 0.5, 1e30])
@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2.0**-53])
@pytest.mark.parametrize("setting", FILTERS.values(), ids=FILTERS)
def test_the_largest_floats_are_logits_too(temperature, uniform, setting, native):
    logits = torch.full((1, 300), -math.inf)
    logits[0, [20, 280]], logits[0, [7, 290]] = LARGEST, -LARGEST
    settings = one_setting(1, **setting | {"temperature": temperature})
    uniform = torch.tensor([uniform], dtype=torch.float64)
    token, logprob = sample_tokens(logits, *settings, uniform, backend="cpp")
    assert int(token) in [20, 280]
    assert float(logprob) in (0, pytest.approx(math.log(0.5)))


@pytest.mark.parametrize("mask", [-1e9, -LARGEST, -math.inf])
def test_a_mask_leaves_the_draws_of_the_rest(mask, native):
    """Masked whole blocks and parts of them change no draw of the tokens that stay."""
    inputs = SampleTokensCase(48, 1500).inputs()
    few = inputs[0][:, 512:1100]
    masked = torch.full_like(inputs[0], mask)
    masked[:, 512:1100] = few
    token, logprob = sample_tokens(masked, *inputs[1:], backend="cpp")
    alone, alone_logprob = sample_tokens(few.contiguous(), *inputs[1:], backend="cpp")
    assert torch.equal(token - 512, alone)
    torch.testing.assert_close(logprob, alone_logprob, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("top_p", [0.0, 1e-30])
def test_the_most_probable_token_is_always_kept(top_p, native):
    inputs = SampleTokensCase(5, 300, only=0).inputs()
    token, logprob = sample_tokens(
        inputs[0], *one_setting(5, top_p=top_p), inputs[-1], backend="cpp"
    )
    assert torch.equal(token, inputs[0].argmax(dim=1))
    assert (logprob == 0).all()


@pytest.mark.parametrize(
    ("logit", "temperature", "message"),
    [
        (math.nan, 1.0, "got nan or inf in row 2"),
        (math.inf, 0.0, "got nan or inf in row 2"),
        (None, 1.0, "got only -inf in row 2"),
        (0.0, -1.0, "temperature must be at least 0, got -1.000000 in row 2"),
        (0.0, math.nan, "temperature must be at least 0, got nan in row 2"),
    ],
)
def test_a_row_without_a_distribution_is_named(logit, temperature, message, native):
    logits, inputs = torch.zeros(4, 37), one_setting(4)
    if logit is None:
        logits[2] = -math.inf
    else:
        logits[2, 36] = logit
    inputs[0][2] = temperature
    with pytest.raises(ValueError, match=message):
        sample_tokens(logits, *inputs, torch.zeros(4, dtype=torch.float64), backend="cpp")


def test_a_wrong_shape_is_named():
    inputs = list(SampleTokensCase(3, 10).inputs())
    inputs[3] = inputs[3][:2]
    with pytest.raises(ValueError, match=r"sample_tokens: top_p must be \[3\], got \[2\]"):
        sample_tokens(*inputs)
