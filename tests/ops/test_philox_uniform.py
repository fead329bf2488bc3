from __future__ import annotations

import pytest
import torch

from t2engine.ops import philox_uniform
from t2engine.ops.philox_uniform import philox4x32_10
from tests.cases import PHILOX_UNIFORM

ONES = 0xFFFFFFFF
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (PI[:4], PI[4:], (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
)
def test_reference_gives_the_published_words(counter, key, words):
    """The known answers that Random123 is distributed with."""
    assert philox4x32_10(counter, key) == words


@pytest.mark.parametrize("case", PHILOX_UNIFORM, ids=str)
def test_backend_matches_reference(case, backend, device):
    inputs = case.inputs(device)
    out = philox_uniform(*inputs, backend=backend)
    assert out.dtype == torch.float64
    assert torch.equal(out, philox_uniform.reference(*inputs))
    assert ((out >= 0) & (out < 1)).all()


def test_the_known_words_as_uniforms(backend, device):
    """Where each argument goes: (step, sample, prompt low, prompt high), key from the seed."""
    step, sample, prompt_low, prompt_high, seed_low, seed_high = PI
    arguments = (seed_high << 32 | seed_low, prompt_high << 32 | prompt_low, sample, step)
    inputs = [torch.tensor([x], dtype=torch.int64, device=device) for x in arguments]
    want = (0xD16CFE09 >> 5) * 2.0**-27 + (0x94FDCCEB >> 6) * 2.0**-53
    assert philox_uniform(*inputs, backend=backend).item() == want


def stream(seed: int, count: int) -> torch.Tensor:
    """count uniforms of one seed, over prompts, samples and steps."""
    index = torch.arange(count)
    return philox_uniform(
        torch.full((count,), seed), index // 10_000, index // 100 % 100, index % 100, backend="cpp"
    )


def test_neighbouring_seeds_share_no_stream(native):
    count = 100_000
    a, b = stream(0, count), stream(1, count)
    assert torch.cat([a, b]).unique().numel() == 2 * count
    for shift in range(4):  # the correlation of independent streams has deviation 1 / sqrt(count)
        pair = torch.stack([a[: count - shift], b[shift:]])
        assert abs(torch.corrcoef(pair)[0, 1]) < 5 / count**0.5


def test_uniforms_are_uniform(native):
    bins, count = 1000, 100_000
    seen = torch.histc(stream(7, count), bins, 0, 1)
    chi_square = ((seen - count / bins) ** 2 / (count / bins)).sum()
    assert abs(chi_square - (bins - 1)) < 5 * (2 * (bins - 1)) ** 0.5


def test_a_wrong_shape_is_named():
    rows = torch.arange(3)
    with pytest.raises(ValueError, match=r"philox_uniform: step must be \[3\], got \[2\]"):
        philox_uniform(rows, rows, rows, rows[:2])
