from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine.laws.counts import NAMES, CountsLaw, fit_counts, law_of
from t2engine.laws.counts_bands import fit_counts_bands
from t2engine.laws.counts_likelihood import counts_likelihood, counts_parameters
from t2engine.laws.evidence import Evidence, counts_evidence, gold_evidence
from t2engine.laws.fitting import random_starts
from t2engine.laws.gamma import Array
from t2engine.laws.law_file import law_from_dict, law_to_dict
from t2engine.laws.observations import from_records
from t2engine.laws.passk import beta_pass_at_k
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget
from tests.laws.planted import (
    TRUTH,
    best_log_n,
    log_n_band,
    planted_evidence,
    planted_records,
    share_covered,
)

K = np.array([1.0, 8, 64, 1000])


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return planted_evidence(seed=1)


@pytest.fixture(scope="module")
def law(evidence: Evidence) -> CountsLaw:
    return fit_counts(evidence)


def test_recovers_a_planted_law(evidence: Evidence, law: CountsLaw) -> None:
    """Every parameter within 4 of its standard errors, and the curves closely."""
    assert law.fit is not None
    assert law.fit.converged
    assert law.fit.bounds_hit == ()
    errors = np.sqrt(np.diag(np.array(law.covariance)))
    assert np.all(np.abs(law.vector - TRUTH.vector) < 4 * errors)
    at = evidence.N[:, None], evidence.D[:, None], K
    assert np.abs(law.pass_at_k(*at) - TRUTH.pass_at_k(*at)).max() < 0.03
    assert law.discrepancy < 0.01  # the data follow the law


def test_more_questions_narrow_the_fit() -> None:
    """Four times the questions: half the standard errors, to the prior's share."""
    few = fit_counts(counts_evidence(from_records(planted_records(3, 100))), num_starts=8)
    many = fit_counts(counts_evidence(from_records(planted_records(3, 1600))), num_starts=8)
    spread = [np.sqrt(np.diag(np.array(x.covariance)))[[6, 7]] for x in (few, many)]
    assert spread[0] / spread[1] == pytest.approx(4, rel=0.25)


def test_gradient_is_the_slope_of_the_objective(evidence: Evidence) -> None:
    likelihood, parameters = counts_likelihood(evidence), counts_parameters(evidence)
    theta = random_starts(parameters, 5, seed=0)
    weight = np.random.default_rng(0).random((5, evidence.N.size))
    _, gradient, _ = likelihood(theta, weight)
    for j, step in enumerate(1e-6 * np.eye(len(NAMES))):
        up, down = likelihood(theta + step, weight)[0], likelihood(theta - step, weight)[0]
        slope = (up - down) / 2e-6
        assert gradient[:, j] == pytest.approx(slope, rel=1e-5, abs=1e-3), NAMES[j]


def test_curvature_is_that_of_the_objective_at_data_which_follow_the_law(
    evidence: Evidence, law: CountsLaw
) -> None:
    """At the optimum the slopes of the link drop out: Gauss-Newton is near the Hessian."""
    likelihood, weight = counts_likelihood(evidence), np.ones((1, evidence.N.size))
    theta = np.linalg.solve(likelihood.uncentring(), law.vector)
    hessian = likelihood(theta[None], weight)[2][0]
    for j in (6, 7):  # ln spread and kappa, in which the link is linear
        step = 1e-5 * np.eye(len(NAMES))[j]
        up, down = (likelihood((theta + s)[None], weight)[1][0, j] for s in (step, -step))
        assert hessian[j, j] == pytest.approx((up - down) / 2e-5, rel=0.1)


def test_no_neighbour_is_more_likely(evidence: Evidence, law: CountsLaw) -> None:
    likelihood = counts_likelihood(evidence)
    theta = np.linalg.solve(likelihood.uncentring(), law.vector)
    weight = np.ones((1, evidence.N.size))
    here = likelihood(theta[None], weight)[0]
    for step in np.concatenate([np.eye(len(NAMES)), -np.eye(len(NAMES))]) * 0.02:
        assert likelihood((theta + step)[None], weight)[0] > here


def test_order_of_rows_does_not_matter(law: CountsLaw) -> None:
    rows = planted_records(seed=1)
    mixed = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    again = fit_counts(counts_evidence(from_records(mixed)))
    assert again.vector == pytest.approx(law.vector, rel=1e-3, abs=1e-3)


def test_splitting_a_question_says_less_about_the_spread() -> None:
    """Halves of one question agree, halves of two do not: they are different evidence."""
    rows = planted_records(seed=1)
    halves = []
    for row in rows:
        first = row.num_correct // 2
        halves.append(replace(row, num_samples=32, num_correct=first))
        second = replace(row, num_samples=32, num_correct=row.num_correct - first)
        halves.append(replace(second, question=row.question + "'"))
    whole, split = counts_evidence(from_records(rows)), counts_evidence(from_records(halves))
    assert split.own[:, 0] / split.own.sum(axis=1) == pytest.approx(
        whole.own[:, 0] / whole.own.sum(axis=1), rel=0.02
    )
    assert np.abs(split.peak - whole.peak).min() > 100


def test_equal_counts_are_one_row_and_adaptive_counts_are_kept() -> None:
    rows = planted_records(seed=1)
    evidence = counts_evidence(from_records(rows))
    assert evidence.samples.count.size == 20
    assert evidence.successes.count.size <= 20 * 64
    grown = [
        replace(r, num_samples=10**6, num_correct=r.num_correct) if r.num_correct == 0 else r
        for r in rows
    ]
    adaptive = counts_evidence(from_records(grown))
    assert adaptive.num_questions == pytest.approx(evidence.num_questions)
    fit = fit_counts(adaptive, num_starts=4)
    assert np.all(np.isfinite(fit.vector))


def test_gold_nll_is_the_expectation_of_its_counts() -> None:
    """p = exp(-NLL) in 1024 virtual samples gives the Beta that the p were drawn from."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 3.0, size=20_000)
    found = gold_evidence(["m"], [1e6], [1e8], [-np.log(p)])
    assert found.own[0] == pytest.approx([0.5, 3.0], rel=0.04)
    assert found.num_questions[0] == pytest.approx(20_000)


parameters = st.tuples(
    st.floats(-6, 8),
    st.floats(-2, 10),
    st.floats(0.02, 1.5),
    st.floats(-2, 10),
    st.floats(0.02, 1.5),
    st.floats(-6, 0),
    st.floats(-4, 8),
    st.floats(-1, 3),
    st.floats(-0.7, 2.5),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(parameters, st.floats(3, 13), st.floats(5, 16), st.floats(0, 6), st.floats(0.01, 3))
def test_more_of_anything_never_hurts(
    theta: tuple[float, ...], log_N: float, log_D: float, log_k: float, more: float
) -> None:
    law = law_of(np.array(theta))
    N, D, k = 10**log_N, 10**log_D, 10**log_k
    here = law.merit(N, D, k)
    slack = 1e-9 * (1 + abs(float(here)))
    assert 0 <= law.pass_at_k(N, D, k) <= 1
    for better in ((N * 10**more, D, k), (N, D * 10**more, k), (N, D, k * 10**more)):
        assert law.merit(*better) >= here - slack


def test_link_is_a_beta_and_the_vector_comes_back() -> None:
    a, b = TRUTH.link(TRUTH.ability(1e6, 1e7))
    want = beta_pass_at_k(a, b, 5)
    assert TRUTH.pass_at_k(1e6, 1e7, 5) == pytest.approx(float(want), rel=1e-12)
    assert float(a / (a + b)) < TRUTH.ceiling
    bent = replace(TRUTH, bend=2.0)
    assert law_of(bent.vector).vector == pytest.approx(bent.vector, rel=1e-12)


def test_a_fitted_law_survives_json_and_plans(law: CountsLaw) -> None:
    again = law_from_dict(json.loads(json.dumps(law_to_dict(law))))
    assert again == law
    report = plan_budget(law, Budget(train=1.2e14, inference=2e6))
    assert report.t2.pass_at_k >= report.compute_optimal.pass_at_k
    assert np.log(report.t2.N) == pytest.approx(best_log_n(law), abs=0.02)
    with pytest.raises(ValueError, match="covariance must be"):
        law_from_dict(law_to_dict(law) | {"covariance": [[1.0]]})


def test_band_on_the_best_size_covers_the_truth() -> None:
    """10 of the 200 simulations that `python -m tests.laws.planted 200` runs."""
    covered, width, _ = share_covered(10)
    assert covered >= 0.7  # at a 90 % band the chance of fewer than 7 of 10 is 1 in 80
    assert 0.3 < width < 1.2


def test_band_of_a_new_checkpoint_is_ordered_and_widens(evidence: Evidence, law: CountsLaw) -> None:
    bands = fit_counts_bands(law, evidence, num_resamples=20)
    low, high = bands.band(evidence.N, evidence.D, K)
    wide_low, wide_high = bands.band(evidence.N, evidence.D, K, level=0.98)
    assert low.shape == (20, 4)
    assert np.all((wide_low <= low) & (low < high) & (high <= wide_high))
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        bands.band(1e6, 1e7, 1, level=90)
    assert log_n_band(law, 0)[0] < best_log_n(law) < log_n_band(law, 0)[1]


def with_counts(correct: Array | int) -> Evidence:
    rows = [replace(row, num_correct=int(correct)) for row in planted_records(0, num_questions=3)]
    return counts_evidence(from_records(rows))


def test_bad_data_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one success, every sample is wrong"):
        fit_counts(with_counts(0))
    with pytest.raises(ValueError, match=r"at least one failure, every sample is right"):
        fit_counts(with_counts(64))
    one = counts_evidence(from_records(planted_records(0)[:200]))
    with pytest.raises(ValueError, match=r"counts law needs at least 10 .* got 1 over 1 and 1"):
        fit_counts(one)
    nine = counts_evidence(from_records(planted_records(0)[: 9 * 200]))
    with pytest.raises(ValueError, match=r"needs at least 10 checkpoints .* got 9 over 3 and 4"):
        fit_counts(nine)
    with pytest.raises(ValueError, match="gold_nll of m must be finite and >= 0"):
        gold_evidence(["m"], [1e6], [1e8], [[1.0, np.nan]])
    with pytest.raises(ValueError, match="no covariance"):
        TRUTH.draws(3)
