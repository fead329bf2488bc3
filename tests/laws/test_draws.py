from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.counts import CountsLaw
from t2engine.laws.draws import draw_laws, intervals, is_quick, parameters_of, resample
from t2engine.laws.splits import Ladder, counts_ladder, fit_named
from tests.laws.ladder import observations

TRUTH = Approach1Law(E=0.2, A=40.0, alpha=0.3, B=300.0, beta=0.35, G=1.5, gamma=0.4)


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    return counts_ladder(observations(num_questions=60))


def test_data_without_noise_leave_no_interval(ladder: Ladder) -> None:
    """Whatever models are drawn, they follow the law."""
    curves = ladder.curves
    nll = TRUTH.nll(curves.N[:, None], curves.D[:, None], curves.k)
    exact = Ladder(ladder.evidence, replace(curves, nll=nll))
    law = fit_named(exact, "approach1", num_starts=8)
    found = intervals(resample(exact, law).laws)
    for name, value in parameters_of(TRUTH).items():
        assert found[name] == pytest.approx((value, value), rel=1e-3)


def test_intervals_hold_the_fit_and_do_not_change(ladder: Ladder) -> None:
    law = fit_named(ladder, "counts", num_starts=8)
    assert isinstance(law, CountsLaw)
    drawn = resample(ladder, law, seed=1)
    assert len(drawn.laws) == 50
    found = intervals(drawn.laws)
    assert found == intervals(resample(ladder, law, seed=1).laws)
    assert found != intervals(resample(ladder, law, seed=2).laws)
    for name in ("top", "alpha", "beta"):
        low, high = found[name]
        assert low < parameters_of(law)[name] < high
    assert "discrepancy" not in found
    assert "E" not in found
    assert len(draw_laws(law).laws) == 100
    assert is_quick(law, ladder)
    assert is_quick(law, None)
    assert not is_quick(replace(law, covariance=()), None)
    assert not is_quick(TRUTH, ladder)


def test_draws_of_too_few_models_are_not_fitted(ladder: Ladder) -> None:
    law = fit_named(ladder, "approach2", num_starts=8)
    laws = resample(ladder, law).laws
    assert len(laws) == 20
    assert all(len(set(x.fit.N_range)) == 2 for x in laws if x.fit is not None)
    few = ladder.select(np.isin(ladder.curves.N, np.unique(ladder.curves.N)[:2]))
    with pytest.raises(ValueError, match="at least 3 different N, got 2"):
        resample(few, law)


def test_laws_without_observations_or_covariance_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(approach1\) need its observations"):
        draw_laws(TRUTH)
