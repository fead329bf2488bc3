from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2engine.laws.beta_binomial import fit_beta_binomial
from t2engine.laws.passk import beta_pass_at_k, unbiased_pass_at_k
from t2engine.study.evaluation.rule import StoppingRule, fixed

RULE = StoppingRule(16, 256, 4)
PLANTED = (0.4, 3.0)  # a, b


def ask_by_rule(rule: StoppingRule, outcomes: np.ndarray) -> tuple[int, int]:
    n = c = 0
    while (wanted := rule.next_samples(n, c)) is not None:
        n, c = wanted, int(outcomes[:wanted].sum())
    return n, c


def adaptive_counts(rng: np.random.Generator, num_questions: int) -> tuple[np.ndarray, np.ndarray]:
    p = rng.beta(*PLANTED, num_questions)
    outcomes = rng.random((num_questions, RULE.most)) < p[:, None]
    counts = np.array([ask_by_rule(RULE, row) for row in outcomes])
    return counts[:, 0], counts[:, 1]


@given(st.integers(1, 40), st.integers(0, 300), st.integers(1, 6), st.data())
def test_a_question_has_enough_right_or_the_most(first: int, more: int, enough: int, data):
    rule = StoppingRule(first, first + more, enough)
    outcomes = np.array(data.draw(st.lists(st.booleans(), min_size=rule.most, max_size=rule.most)))
    n, c = ask_by_rule(rule, outcomes)
    assert n == rule.most or c >= enough
    before = n if n == first else next(m for m in sizes(rule) if 2 * m >= n)
    assert n == first or outcomes[:before].sum() < enough, "no sample more than the rule asks for"


def sizes(rule: StoppingRule) -> list[int]:
    return [rule.first * 2**i for i in range(20)]


def test_a_fixed_number_is_one_round():
    assert fixed(64).next_samples(0, 0) == 64
    assert fixed(64).next_samples(64, 0) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [((0, 4, 1), "first"), ((4, 4, 0), "enough"), ((8, 4, 1), "raise the one or lower the other")],
)
def test_rules_that_cannot_be_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        StoppingRule(*values)


def test_a_beta_fitted_to_adaptive_counts_is_the_planted_one():
    """The mean over many simulated evaluations is within three of its own standard errors."""
    rng = np.random.default_rng(7)
    fits = [fit_beta_binomial(*adaptive_counts(rng, 400)) for _ in range(60)]
    points = np.log([[fit.a, fit.a / (fit.a + fit.b)] for fit in fits])
    wanted = np.log([PLANTED[0], PLANTED[0] / sum(PLANTED)])
    error = points.std(axis=0, ddof=1) / np.sqrt(len(fits))
    assert np.all(error < 0.02)
    assert np.all(np.abs(points.mean(axis=0) - wanted) < 3 * error)


def test_averages_of_adaptive_counts_are_biased_as_the_module_says():
    """Dropping questions with n < k, or c / n itself, is off by far more than chance."""
    rng = np.random.default_rng(8)
    n, c = adaptive_counts(rng, 20_000)
    kept = n >= 64
    true = beta_pass_at_k(*PLANTED, 64)
    values = unbiased_pass_at_k(n[kept], c[kept], 64)
    assert values.mean() < true - 10 * values.std() / np.sqrt(kept.sum())
    fit = fit_beta_binomial(n, c)
    assert beta_pass_at_k(fit.a, fit.b, 64) == pytest.approx(float(true), abs=0.01)
