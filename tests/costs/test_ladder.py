from __future__ import annotations

import math

import pytest

from t2engine.costs.ladder import ladder, ladder_shape, rungs
from t2engine.metering import parameter_count


def test_the_rule_passes_through_llama_3_8b() -> None:
    """But for its wider MLP: layers, heads and key heads of meta-llama/Meta-Llama-3-8B."""
    shape = ladder_shape(4096, vocab_size=128256)
    assert (shape.num_layers, shape.num_heads, shape.num_kv_heads) == (32, 32, 8)
    assert shape.head_dim == 128


@pytest.mark.parametrize("vocab_size", [320, 8192, 128256])
def test_rungs_rise_and_hold_together(vocab_size: int) -> None:
    sizes = [N for N, _ in ladder(vocab_size)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 3e10
    for N, shape in ladder(vocab_size):
        assert parameter_count(shape) == N
        assert shape.num_heads * shape.head_dim == shape.hidden_size
        assert shape.num_heads % shape.num_kv_heads == 0
        assert shape.num_layers >= 2


def test_a_place_between_two_rungs() -> None:
    steps = ladder(8192)
    (low_N, low), (high_N, high) = steps[5], steps[6]
    lower, upper, share = rungs(math.sqrt(low_N * high_N), 8192)
    assert (lower, upper) == (low, high)
    assert share == pytest.approx(0.5)
    assert rungs(steps[0][0], 8192)[2] == 0
    assert rungs(steps[-1][0], 8192)[2] == 1


@pytest.mark.parametrize("N", [1.0, 1e15, float("nan")])
def test_what_the_ladder_does_not_reach_is_refused(N: float) -> None:
    with pytest.raises(ValueError, match="N must be from"):
        rungs(N)


def test_a_hidden_size_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 64, the head_dim there, got 300"):
        ladder_shape(300)
