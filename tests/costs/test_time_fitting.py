from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from t2engine.costs.fitting import (
    EVERY,
    Fit,
    conformal_quantile,
    fit_positive,
    fit_with_errors,
    folds,
    half_widths,
)

SHAPES = [f"shape-{i // 12}" for i in range(60)]
SIZES = np.array([2.0 ** (i // 12) for i in range(60)])
ROWS = np.array([1.5 ** (i % 12) for i in range(60)])
TRUTH = np.array([3.0, 0.2])


def line(index):
    """seconds = a + b size rows"""

    def seconds(log_numbers):
        a, b = np.exp(log_numbers)
        return a + b * SIZES[index] * ROWS[index]

    return seconds


def planted(noise: float, seed: int = 0) -> np.ndarray:
    exact = line(np.arange(60))(np.log(TRUTH))
    return exact * np.exp(noise * np.random.default_rng(seed).normal(size=60))


def fit(seconds: np.ndarray, freedom: float = 3.0) -> Fit:
    free = np.full(2, freedom)
    return fit_with_errors(line, seconds, np.zeros(60), SHAPES, np.ones(2), free)


def test_planted_numbers_are_found() -> None:
    found = fit(planted(noise=0.0), freedom=1e3)
    assert found.converged
    assert found.vector == pytest.approx(TRUTH, rel=1e-6)
    assert np.abs(found.errors).max() < 1e-6


def test_what_no_point_determines_stays_where_it_was() -> None:
    def constant(log_numbers):
        return np.full(5, np.exp(log_numbers[0]))

    start, free = np.array([1.0, 7.0]), np.ones(2)
    vector, _ = fit_positive(constant, np.full(5, 2.0), np.zeros(5), start, free, start)
    assert vector[1] == pytest.approx(7.0)
    assert vector[0] == pytest.approx(2.0, rel=1e-2)


def test_a_wild_point_hardly_moves_the_fit() -> None:
    seconds = planted(noise=0.0)
    seconds[7] *= 20
    assert fit(seconds).vector == pytest.approx(TRUTH, rel=0.02)


def test_folds_leave_out_shapes_between_others() -> None:
    found = list(folds(SHAPES))
    wholes = [{SHAPES[i] for i in fold} for fold in found]
    assert wholes == [{"shape-1"}, {"shape-2"}, {"shape-3"}]  # not the smallest, nor the largest
    assert [len(fold) for fold in found] == [12, 12, 12]


def test_with_two_shapes_points_are_left_out_one_in_eight() -> None:
    found = list(folds(SHAPES[:24]))
    left_out = Counter(np.concatenate(found).tolist())
    assert left_out == dict.fromkeys(range(24), 1)
    assert [len(fold) for fold in found] == [3] * EVERY


def test_a_planted_noise_is_covered_as_stated() -> None:
    """Intervals from one run hold 90 % of what another draws from the same truth."""
    inside = []
    for seed in range(12):
        found = fit(planted(0.1, seed))
        visits = [(x,) for x in planted(0.1, seed)]
        widths = half_widths(found, visits, np.full(60, True))
        fresh = planted(0.1, 1000 + seed)
        off = np.abs(np.log(line(np.arange(60))(np.log(found.vector)) / fresh))
        inside.append(np.mean(off <= widths.typical))
        assert widths.one_run == widths.typical  # one visit a point
    assert 0.86 <= np.mean(inside) <= 0.97  # rather wide where noise is all there is


def test_repeats_that_differ_widen_the_interval_of_one_run_alone() -> None:
    seconds = planted(0.02)
    found = fit(seconds)
    everything = np.full(60, True)
    steady = half_widths(found, [(x,) * 3 for x in seconds], everything)
    shaken = half_widths(found, [(0.7 * x, x, 1.4 * x) for x in seconds], everything)
    assert shaken.typical == steady.typical
    assert shaken.one_run > 2 * steady.one_run


def test_no_points_of_a_kind_say_nothing() -> None:
    widths = half_widths(fit(planted(0.1)), [(1.0,)] * 60, np.full(60, False))
    assert widths.typical == widths.one_run == math.inf


def test_conformal_quantile() -> None:
    """The smallest error with ceil((n + 1) 0.9) of them at or below it."""
    errors = np.array([(-1) ** i * i for i in range(1, 20)], float)
    assert conformal_quantile(errors, 0.9) == 18
    assert conformal_quantile(errors[:5], 0.9) == 5  # too few to say more than the largest
