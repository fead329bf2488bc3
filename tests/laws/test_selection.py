"""From counts to curves to the law that is planned with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.approach2 import Approach2Law
from t2engine.laws.curves import pass_curves
from t2engine.laws.observations import from_records
from t2engine.laws.passk import unbiased_pass_at_k
from t2engine.laws.selection import fit_law
from tests.laws.ladder import observations, records


def test_curves_are_means_over_questions() -> None:
    rows = records(num_questions=30, num_samples=20)
    curves = pass_curves(from_records(rows))
    assert curves.k.tolist() == [1, 2, 4, 8, 16]
    first = rows[:30]
    correct = np.array([row.num_correct for row in first])
    want = [unbiased_pass_at_k(20, correct, k).mean() for k in (1, 2, 4, 8, 16)]
    assert curves.pass_at_k[0] == pytest.approx(want, rel=1e-12)
    assert curves.task_nll is not None
    assert curves.task_nll[0] == pytest.approx(np.mean([row.gold_nll for row in first]))
    assert np.all(np.diff(curves.nll, axis=1) < 0)


def test_order_of_rows_does_not_matter() -> None:
    rows = records(num_questions=20)
    mixed = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    one, two = pass_curves(from_records(rows)), pass_curves(from_records(mixed))
    at = [two.models.index(model) for model in one.models]
    assert np.allclose(one.nll, two.nll[at], rtol=1e-9)
    assert np.allclose(one.pass_at_k, two.pass_at_k[at], rtol=1e-12)


def test_a_checkpoint_that_never_succeeds_is_left_out_of_approach_1_by_name() -> None:
    rows = [replace(r, num_correct=0) if r.N == 50_000 and r.D == 500_000 else r for r in records()]
    curves = pass_curves(from_records(rows))
    assert curves.answered.sum() == 15
    choice = fit_law(curves, "approach1")
    assert choice.law.fit is not None
    assert choice.law.fit.num_checkpoints == 15
    assert "1 checkpoints without one success: m50000-500000" in choice.notes[0]
    assert fit_law(curves, "approach2").notes == ()


def test_no_success_anywhere_is_refused() -> None:
    rows = [replace(row, num_correct=0) for row in records(num_questions=3)]
    with pytest.raises(ValueError, match="column num_correct: expected at least one success"):
        pass_curves(from_records(rows))


def test_best_is_the_law_that_predicts_unseen_compute() -> None:
    choice = fit_law(pass_curves(observations()), "best")
    assert isinstance(choice.law, Approach2Law)  # which the ladder was drawn from
    assert choice.held_out_errors["approach2"] < 0.03 < choice.held_out_errors["approach1"]


def test_without_gold_nll_best_is_approach_1_and_says_why() -> None:
    curves = pass_curves(observations(gold=False))
    choice = fit_law(curves, "best")
    assert isinstance(choice.law, Approach1Law)
    assert "gold_nll" in choice.notes[0]
    with pytest.raises(ValueError, match="approach2 needs the column gold_nll"):
        fit_law(curves, "approach2")


def test_small_ladders_are_not_split() -> None:
    rows = [r for r in records() if r.N < 1_000_000 and r.D < 16_000_000]
    choice = fit_law(pass_curves(from_records(rows)), "best")
    assert choice.law.name == "approach2"
    assert choice.held_out_errors == {}
    assert "too few checkpoints" in choice.notes[0]


def test_a_ladder_that_mostly_fails_is_left_to_approach_2() -> None:
    """Twelve of sixteen checkpoints never succeed: nothing for Approach 1 to take a log of."""
    rows = [replace(row, num_correct=0) if row.N < 1_000_000 else row for row in records()]
    choice = fit_law(pass_curves(from_records(rows)), "best")
    assert choice.law.name == "approach2"
    assert choice.law.fit is not None
    assert choice.law.fit.num_checkpoints == 16
    assert (
        "approach1 was not considered: Approach 1 needs at least 6 checkpoints" in choice.notes[0]
    )


def test_one_model_and_unknown_laws_are_refused() -> None:
    one = pass_curves(from_records(records()[:200]))
    with pytest.raises(ValueError, match=r"needs at least 6 checkpoints .* got 1 over 1 and 1"):
        fit_law(one, "best")
    with pytest.raises(ValueError, match="law must be one of approach1, approach2, best, got 'x'"):
        fit_law(one, "x")
    few = pass_curves(from_records(records(num_questions=4, num_samples=3)))
    with pytest.raises(ValueError, match="at least 3 different k"):
        fit_law(few, "approach1")
