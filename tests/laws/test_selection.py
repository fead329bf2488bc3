"""From counts to the law that is planned with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine.laws.observations import from_records, read_shipped_observations
from t2engine.laws.selection import Score, choose, fit_law, mean_errors, obstacle, score_laws
from t2engine.laws.splits import LAWS, SPLITS, Ladder, counts_ladder
from tests.laws.ladder import observations, records


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    return counts_ladder(observations())


def test_order_of_rows_does_not_matter() -> None:
    rows = records(num_questions=20)
    mixed = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    one, two = (counts_ladder(from_records(x)).curves for x in (rows, mixed))
    at = [two.models.index(model) for model in one.models]
    assert np.allclose(one.nll, two.nll[at], rtol=1e-9)
    assert np.allclose(one.pass_at_k, two.pass_at_k[at], rtol=1e-9)


def test_a_checkpoint_that_never_succeeds_is_left_out_of_the_approaches_by_name() -> None:
    rows = [replace(r, num_correct=0) if r.N == 50_000 and r.D == 500_000 else r for r in records()]
    ladder = counts_ladder(from_records(rows))
    for name in ("approach1", "approach2"):
        choice = fit_law(ladder, name)
        assert choice.law.fit is not None
        assert choice.law.fit.num_checkpoints == 15
        assert "1 checkpoints without one success: m50000-500000" in choice.notes[0]
    counts = fit_law(ladder, "counts")
    assert counts.law.fit is not None
    assert counts.law.fit.num_checkpoints == 16
    assert counts.notes == ()


@pytest.mark.parametrize(
    ("correct", "samples", "message"),
    [
        (0, 64, "at least one success, every sample is wrong"),
        (64, 64, "at least one failure, every sample is right"),
        (None, 1, "at least 2 samples of some question, every question has 1"),
    ],
)
def test_counts_that_say_nothing_are_refused(
    correct: int | None, samples: int, message: str
) -> None:
    rows = [
        replace(
            row,
            num_samples=samples,
            num_correct=min(row.num_correct, samples) if correct is None else correct,
        )
        for row in records(num_questions=8)
    ]
    ladder = counts_ladder(from_records(rows))
    for name in (*LAWS, "best"):
        with pytest.raises(ValueError, match=message):
            fit_law(ladder, name)


def test_best_is_the_law_that_predicts_unseen_checkpoints(ladder: Ladder) -> None:
    choice = fit_law(ladder, "best")
    errors = choice.held_out_errors
    assert set(errors) == set(LAWS)
    assert choice.law.name == min(errors, key=lambda x: errors[x])
    assert errors[choice.law.name] < 0.03 < errors["approach1"]
    assert choice.law.fit is not None
    assert choice.law.fit.k_range == (1, 64)


def test_counts_predicts_the_shipped_ladder_best() -> None:
    errors = mean_errors(score_laws(counts_ladder(read_shipped_observations()), LAWS))
    assert errors["counts"] < 0.9 * min(errors["approach1"], errors["approach2"])


def test_without_gold_nll_approach_2_says_what_it_takes() -> None:
    choice = fit_law(counts_ladder(observations(gold=False)), "approach2")
    assert "mean -ln of each question's pass@1" in choice.notes[0]


def test_small_ladders_are_not_split() -> None:
    rows = [r for r in records() if r.N < 1_000_000 and r.D < 16_000_000]
    ladder = counts_ladder(from_records(rows))
    assert "at least 10 checkpoints" in obstacle(ladder, "counts")
    choice = fit_law(ladder.select(np.arange(9) < 8), "best")
    assert choice.law.name == "approach2"
    assert "counts was not considered" in " ".join(choice.notes)


def test_choice_needs_scores_on_every_split() -> None:
    scores = [Score("counts", x, 0.1) for x in SPLITS]
    scores += [Score("approach1", "compute", 0.01), Score("approach1", "overtraining", None, "few")]
    assert mean_errors(scores) == {"counts": pytest.approx(0.1)}
    assert choose(["approach1", "counts"], scores) == (
        "counts",
        ("approach1 was not compared: few",),
    )
    untested = [Score(x, split, None, "few") for x in ("approach2", "counts") for split in SPLITS]
    best, notes = choose(["approach2", "counts"], untested)
    assert best == "counts"
    assert "too few checkpoints" in notes[0]


def test_a_ladder_that_mostly_fails_is_left_to_counts() -> None:
    """Twelve of sixteen checkpoints never succeed: nothing for the approaches to take a log of."""
    rows = [replace(row, num_correct=0) if row.N < 1_000_000 else row for row in records()]
    choice = fit_law(counts_ladder(from_records(rows)), "best")
    assert choice.law.name == "counts"
    assert (
        "approach1 was not considered: Approach 1 needs at least 6 checkpoints" in (choice.notes[0])
    )


def test_one_model_and_unknown_laws_are_refused() -> None:
    one = counts_ladder(from_records(records()[:200]))
    with pytest.raises(ValueError, match=r"needs at least 6 checkpoints .* got 1 over 1 and 1"):
        fit_law(one, "best")
    with pytest.raises(ValueError, match=r"law must be one of .*, best, got 'x'"):
        fit_law(one, "x")
