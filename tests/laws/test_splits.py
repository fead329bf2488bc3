from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from t2engine.laws.counts import SAMPLES_OF_INTEREST, CountsLaw
from t2engine.laws.counts_bands import fit_counts_bands
from t2engine.laws.observations import from_records, read_observations
from t2engine.laws.splits import (
    SPLITS,
    Ladder,
    compute_split,
    counts_ladder,
    fit_named,
    gold_ladder,
    held_out_error,
    overtraining_split,
)
from tests.laws.ladder import PUBLIC_DATA
from tests.laws.planted import TRUTH, planted_records

LAWS = ("approach1", "approach2", "counts")


def public(name: str) -> Path:
    path = PUBLIC_DATA / name
    if not path.is_file():
        pytest.skip(f"public measurements are not beside the repository: {path} is absent")
    return path


def gemstones(task: str) -> Ladder:
    """N of the published shapes: 15 width^2 a layer (grouped queries, gated 4 x width), untied."""
    data = np.load(public("gemstones_gold_nll.npz"))
    width, depth, step = (data[x].astype(float) for x in ("width", "depth", "step"))
    N = 15 * depth * width**2 + 2 * depth * width + width + 2 * 50304 * width
    names = [f"{w:g}x{d:g}" for w, d in zip(width, depth, strict=True)]
    return gold_ladder(names, N, step * 2048 * 2048, list(data[task].astype(float)), task)


def errors(ladder: Ladder, split: str, *laws: str) -> dict[str, float]:
    fitted = SPLITS[split](ladder.curves.N, ladder.curves.D)
    rest = ladder.select(~fitted).curves
    return {
        x: held_out_error(fit_named(ladder.select(fitted), x, num_starts=16), rest) for x in laws
    }


def test_score_is_taken_at_thirteen_k() -> None:
    assert SAMPLES_OF_INTEREST.tolist() == [1, 2, 3, 6, 10, 18, 32, 56, 100, 178, 316, 562, 1000]


def test_splits_leave_the_largest_out() -> None:
    rng = np.random.default_rng(0)
    N, D = 10 ** rng.uniform(6, 9, 23), 10 ** rng.uniform(8, 12, 23)
    for split, value in ((compute_split, N * D), (overtraining_split, D / N)):
        fitted = split(N, D)
        assert fitted.sum() == 17  # 70 % of 23, rounded up
        assert value[fitted].max() < value[~fitted].min()
    assert compute_split(np.ones(10), np.ones(10)).tolist() == [True] * 7 + [False] * 3


def test_a_selected_ladder_is_the_ladder_of_the_selected_rows() -> None:
    rows = planted_records(0, num_questions=10)
    kept = np.arange(20) % 3 != 0
    some = counts_ladder(from_records(rows)).select(kept)
    want = counts_ladder(from_records([r for i, r in enumerate(rows) if kept[i // 10]]))
    assert some.curves.pass_at_k == pytest.approx(want.curves.pass_at_k, rel=1e-12)
    assert some.evidence.own == pytest.approx(want.evidence.own)
    for name in ("successes", "failures", "samples"):
        mine, theirs = getattr(some.evidence, name), getattr(want.evidence, name)
        assert mine.checkpoint.tolist() == theirs.checkpoint.tolist()
        assert mine.count.tolist() == theirs.count.tolist()
        assert mine.weight.tolist() == theirs.weight.tolist()


def test_measured_pass_at_k_is_unbiased_where_it_can_be() -> None:
    """At k <= n the share of right answers decides; beyond, nothing is certain."""
    ladder = counts_ladder(from_records(planted_records(0)))
    correct = np.array([r.num_correct for r in planted_records(0)]).reshape(20, 200)
    assert ladder.curves.pass_at_k[:, 0] == pytest.approx((correct / 64).mean(axis=1))
    beyond = ladder.curves.pass_at_k[:, SAMPLES_OF_INTEREST > 64]
    assert np.all((beyond > 0) & (beyond < 1))
    assert np.all(np.diff(ladder.curves.pass_at_k, axis=1) > -1e-3)


def test_gold_pass_at_k_is_that_of_p() -> None:
    nll = [np.array([0.1, 2.0, 9.0])]
    found = gold_ladder(["m"], [1e6], [1e8], nll).curves
    p = np.exp(-nll[0])[:, None]
    want = (1 - (1 - p) ** SAMPLES_OF_INTEREST).mean(axis=0)
    assert found.pass_at_k[0] == pytest.approx(want, rel=1e-9)


def test_the_law_that_drew_the_data_has_no_error_but_sampling() -> None:
    ladder = counts_ladder(from_records(planted_records(2, num_questions=1000)))
    assert held_out_error(TRUTH, ladder.curves) < 0.01
    found = errors(ladder, "compute", "counts", "approach1")
    assert found["counts"] < 0.02 < found["approach1"]
    with pytest.raises(ValueError, match="law must be approach1, approach2 or counts, got 'x'"):
        fit_named(ladder, "x")


def test_counts_law_beats_both_approaches_on_gsm8k() -> None:
    """Mean error over both splits at most .8 of the better approach's; bands hold 80 to 97 %."""
    ladder = counts_ladder(read_observations(public("pythia_gsm8k_counts.csv")))
    found = [errors(ladder, x, *LAWS) for x in SPLITS]
    mean = {x: (found[0][x] + found[1][x]) / 2 for x in found[0]}
    assert mean["counts"] <= 0.8 * min(mean["approach1"], mean["approach2"])
    held = []
    for split in SPLITS.values():
        fitted = split(ladder.curves.N, ladder.curves.D)
        known, rest = ladder.select(fitted), ladder.select(~fitted).curves
        law = fit_named(known, "counts")
        assert isinstance(law, CountsLaw)
        low, high = fit_counts_bands(law, known.evidence).band(rest.N, rest.D, rest.k)
        held += (((low <= rest.pass_at_k) & (rest.pass_at_k <= high)).mean(axis=1)).tolist()
    assert 0.80 <= np.mean(held) <= 0.97


def test_counts_law_beats_both_approaches_at_unseen_compute_on_openbookqa() -> None:
    """Every fifth checkpoint of a run, to be quick."""
    ladder = gemstones("openbookqa")
    steps = ladder.curves.D / ladder.curves.D.min()
    found = errors(ladder.select(np.round(steps) % 5 == 0), "compute", *LAWS)
    assert found["counts"] <= 0.95 * min(found["approach1"], found["approach2"])
