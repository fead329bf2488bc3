from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, binom

from t2engine.laws.majority import (
    beta_majority_of_two,
    beta_plateau_of_two,
    majority_of_two,
    plateau,
    vote_of_counts,
    vote_of_probabilities,
)

TOO_MUCH = 20_000  # samples that are simulated and not summed over


def splits(k: int, num_answers: int) -> Iterator[tuple[int, ...]]:
    """Every way that k votes fall on the answers."""
    if num_answers == 1:
        yield (k,)
        return
    for first in range(k + 1):
        for rest in splits(k - first, num_answers - 1):
            yield (first, *rest)


def wins(votes: tuple[int, ...], right: int) -> float:
    return (votes[right] == max(votes)) / votes.count(max(votes))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(p=st.floats(1e-9, 1), k=st.integers(1, 60))
def test_two_answers_by_the_binomial(p: float, k: int) -> None:
    want = binom.sf(k // 2, k, p) + (k % 2 == 0) * binom.pmf(k // 2, k, p) / 2
    assert float(majority_of_two(p, k)) == pytest.approx(want, abs=1e-13)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 11, 64, 201])
@pytest.mark.parametrize(("a", "b"), [(0.3, 5.0), (1e-4, 1e-3), (2.0, 2.0), (50.0, 30.0)])
def test_two_answers_by_the_beta_binomial(a: float, b: float, k: int) -> None:
    want = betabinom.sf(k // 2, k, a, b) + (k % 2 == 0) * betabinom.pmf(k // 2, k, a, b) / 2
    assert float(beta_majority_of_two(a, b, k)) == pytest.approx(want, rel=1e-11)


def test_two_answers_that_are_alike_are_a_coin() -> None:
    assert majority_of_two(0.5, 7) == pytest.approx(0.5, rel=1e-15)
    for k in (1, 2, 9, 1000):
        assert float(beta_majority_of_two(0.7, 0.7, k)) == pytest.approx(0.5, rel=1e-11)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=st.floats(0.01, 100), b=st.floats(0.01, 100), k=st.integers(1, 500))
def test_right_and_wrong_share_the_votes(a: float, b: float, k: int) -> None:
    both = beta_majority_of_two([a, b], [b, a], k)
    assert float(both.sum()) == pytest.approx(1, rel=1e-11)


def test_one_sample_is_the_mean_and_endless_samples_the_plateau() -> None:
    assert float(beta_majority_of_two(0.6, 1.4, 1)) == pytest.approx(0.3, rel=1e-13)
    limit = float(beta_plateau_of_two(0.6, 1.4))
    errors = [float(beta_majority_of_two(0.6, 1.4, k)) - limit for k in (101, 1001, 10_001)]
    # p's density is smooth at 1/2, and only its slope there is seen through 1 / k of variance
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.01)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    weights=st.lists(st.sampled_from([0, 1, 1, 2, 3, 5]), min_size=1, max_size=4),
    k=st.integers(1, 9),
)
def test_many_answers_by_every_split_of_the_votes(weights: list[int], k: int) -> None:
    weights[0] += 1
    chance = np.array(weights) / sum(weights)
    for right in range(len(weights)):
        want = 0.0
        for votes in splits(k, len(weights)):
            ways = math.factorial(k) // math.prod(map(math.factorial, votes))
            want += ways * float(np.prod(chance ** np.array(votes))) * wins(votes, right)
        found = vote_of_probabilities(chance, right, k)
        assert found.method == "exact"
        assert found.value == pytest.approx(want, abs=1e-13)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=4), data=st.data())
def test_counts_by_every_subset_of_the_samples(counts: list[int], data: st.DataObject) -> None:
    counts[0] += 1
    k = data.draw(st.integers(1, sum(counts)))
    for right in range(len(counts)):
        ways = 0.0
        for votes in splits(k, len(counts)):
            ways += math.prod(map(math.comb, counts, votes)) * wins(votes, right)
        found = vote_of_counts(counts, right, k)
        assert found.method == "exact"
        assert found.value == pytest.approx(ways / math.comb(sum(counts), k), abs=1e-12)


@pytest.mark.parametrize("k", [2, 25, 400])
def test_many_answers_share_the_votes(k: int) -> None:
    chance = [0.3, 0.25, 0.25, 0.1, 0.06, 0.04]
    values = [vote_of_probabilities(chance, right, k).value for right in range(6)]
    assert sum(values) == pytest.approx(1, abs=1e-12)
    assert values[1] == pytest.approx(values[2], abs=1e-13)
    assert sorted(values, reverse=True) == pytest.approx(values, abs=1e-13)


@pytest.mark.parametrize("k", [1, 10, 333])
def test_many_answers_of_which_two_are_two(k: int) -> None:
    found = vote_of_probabilities([0.0, 0.45, 0.55], 1, k)
    assert found.value == pytest.approx(float(majority_of_two(0.45, k)), abs=1e-13)


def test_spreading_the_wrong_answers_helps() -> None:
    together = vote_of_probabilities([0.3, 0.7], 0, 51).value
    halves = vote_of_probabilities([0.3, 0.35, 0.35], 0, 51).value
    scattered = vote_of_probabilities([0.3, *[0.07] * 10], 0, 51).value
    assert together < halves < scattered


def test_a_vote_of_counts_is_unbiased() -> None:
    """Averaged over what n samples can be it is the vote of k at the true chances."""
    chance, n, k = np.array([0.5, 0.3, 0.2]), 8, 5
    mean = 0.0
    for counts in splits(n, 3):
        ways = math.factorial(n) // math.prod(map(math.factorial, counts))
        mean += (
            ways * float(np.prod(chance ** np.array(counts))) * vote_of_counts(counts, 0, k).value
        )
    assert mean == pytest.approx(vote_of_probabilities(chance, 0, k).value, abs=1e-12)


def test_all_counts_vote_for_the_most_common() -> None:
    assert vote_of_counts([7, 5, 5], 0, 17).value == pytest.approx(1, abs=1e-12)
    assert vote_of_counts([7, 7, 3], 1, 17).value == pytest.approx(0.5, abs=1e-12)
    assert vote_of_counts([7, 5, 5], 2, 17).value == pytest.approx(0, abs=1e-12)
    assert vote_of_counts([7, 5, 5], 2, 1).value == pytest.approx(5 / 17, abs=1e-12)


def test_too_many_samples_are_simulated_within_the_error_stated() -> None:
    chance = [0.502, 0.498]
    want = float(majority_of_two(chance[0], TOO_MUCH))
    found = [vote_of_probabilities(chance, 0, TOO_MUCH, seed=seed) for seed in range(40)]
    assert {vote.method for vote in found} == {"simulated"}
    assert found[0] == vote_of_probabilities(chance, 0, TOO_MUCH, seed=0)
    off = np.array([(vote.value - want) / vote.standard_error for vote in found])
    assert np.abs(off).max() < 4
    assert 0.7 < off.std() < 1.3


def test_a_simulation_without_one_loss_is_not_certain() -> None:
    found = vote_of_counts([30_000, 10_000], 0, TOO_MUCH, num_draws=1000)
    assert (found.value, found.method) == (1.0, "simulated")
    assert 1e-5 < found.standard_error < 1e-2


def test_an_answer_never_given_never_wins() -> None:
    assert vote_of_probabilities([1.0], None, 5).value == 0
    assert vote_of_probabilities([1.0, 0.0], 1, 5).value == 0
    assert vote_of_counts([3, 1], None, 2).value == 0


def test_plateau_is_the_share_of_questions_whose_most_probable_answer_is_right() -> None:
    questions = [[0.5, 0.3, 0.2], [4, 6], [2, 2, 1], [1.0]]
    assert plateau(questions, [0, 0, 1, None]) == (1 + 0 + 0.5 + 0) / 4


def test_a_long_vote_reaches_the_plateau() -> None:
    votes = [
        vote_of_probabilities([0.5, 0.3, 0.2], 0, 1000),
        vote_of_probabilities([0.4, 0.6], 0, 1000),
    ]
    assert [vote.value for vote in votes] == pytest.approx([1, 0], abs=1e-9)


def test_impossible_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"k must be a whole number .* got 2.5"):
        majority_of_two(0.5, 2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"k must be a whole number .* got 0"):
        vote_of_probabilities([1.0], 0, 0)
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\], got 2"):
        majority_of_two(2, 3)
    with pytest.raises(ValueError, match=r"probabilities must sum to 1, got 0.9"):
        vote_of_probabilities([0.5, 0.4], 0, 3)
    with pytest.raises(ValueError, match=r"a vote of 5 needs at least 5 samples, counts have 4"):
        vote_of_counts([3, 1], 0, 5)
    with pytest.raises(ValueError, match="counts must be whole numbers"):
        vote_of_counts([3.5, 1], 0, 2)
    with pytest.raises(ValueError, match="answers must be one row"):
        vote_of_counts([3, -1], 0, 2)
    with pytest.raises(ValueError, match="right must be None or an index below 2, got 2"):
        vote_of_counts([3, 1], 2, 2)
    with pytest.raises(ValueError, match="one right answer for each of at least one question"):
        plateau([[1, 2]], [0, 1])
