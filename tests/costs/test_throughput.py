"""What follows from a benchmark's figures, on planted ones."""

from __future__ import annotations

import math

import pytest

from t2engine.costs.steps import DecodeStep
from t2engine.costs.throughput import (
    Gain,
    Peaks,
    break_evens,
    figures_of,
    gains_of,
    marginal_costs,
)
from t2engine.schema import Cost

PEAKS = Peaks({"float32": 1e9}, 1e8)


def step_of(n, prompts, seconds, P=8):
    step = DecodeStep(n, prompts, P, 4)
    return figures_of(step, tuple(seconds), Cost(100, 10), PEAKS, "float32")


def test_verdicts_need_more_than_the_spread():
    steady, wild = [1.0, 1.0], [0.5, 2.0]
    decode = [
        *(step_of(2, 1, steady), step_of(2, 2, [1.1, 1.1])),
        *(step_of(4, 1, steady), step_of(4, 4, wild)),
        *(step_of(8, 1, [1.2, 1.2]), step_of(8, 8, steady)),
        step_of(1, 1, steady),
    ]
    gains = gains_of(decode)
    assert [g.num_samples for g in gains] == [2, 4, 8]
    assert [g.verdict for g in gains] == ["faster", "same", "slower"]
    assert gains[0].ratio == pytest.approx(1.1)
    assert gains[1].spread == pytest.approx(math.log(4) / math.sqrt(2))


def planted(table):
    """Gains from {prompt: verdicts at n = 2, 8, 64}."""
    words = {"+": "faster", "=": "same", "-": "slower"}
    return [
        Gain(n, P, 1.0, 0.0, words[sign])
        for P, signs in table.items()
        for n, sign in zip((2, 8, 64), signs, strict=True)
    ]


def test_break_even_never_always_and_between():
    found = break_evens(planted({16: "-==", 128: "=++", 1024: "+++", 4096: "+-+"}))
    by_prompt = {b.at: b for b in found if b.along == "num_samples"}
    assert (by_prompt[16].first, by_prompt[16].everywhere) == (None, False)
    assert (by_prompt[128].first, by_prompt[128].everywhere, by_prompt[128].not_at) == (
        8,
        False,
        (),
    )
    assert (by_prompt[1024].first, by_prompt[1024].everywhere) == (2, True)
    assert (by_prompt[4096].first, by_prompt[4096].not_at) == (2, (8,))
    by_samples = {b.at: b for b in found if b.along == "prompt_tokens"}
    assert [by_samples[n].first for n in (2, 8, 64)] == [1024, 128, 128]
    assert by_samples[8].not_at == (4096,)
    assert by_samples[64].everywhere is False


def test_a_linear_step_has_one_marginal_cost():
    decode = [step_of(n, 1, [1.0 + 0.5 * (n - 1)] * 3) for n in (1, 5, 9)]
    found = marginal_costs(decode)
    assert [(m.num_samples, m.next_samples) for m in found] == [(1, 5), (5, 9)]
    for cost in found:
        assert (cost.seconds, cost.of_first, cost.error) == pytest.approx((0.5, 0.5, 0.0))
