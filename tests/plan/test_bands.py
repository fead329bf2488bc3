"""How far a plan moves when other models are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.approach2 import Approach2Law
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.draws import Resamples, resample
from t2engine.laws.observations import from_records
from t2engine.laws.splits import counts_ladder, fit_named
from t2engine.plan.bands import plan_bands
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget
from t2engine.plan.words import count
from t2engine.reports.plan_bands import bands_column, bands_document, bands_line
from tests.laws.planted import (
    INFERENCE_FLOPS,
    TRAIN_FLOPS,
    TRUTH,
    best_log_n,
    planted_records,
)

ONE = Approach1Law(E=0.01, A=478.0, alpha=0.35, B=2143.0, beta=0.37, G=1.0, gamma=0.3)
TWO = Approach2Law(ChinchillaLaw(0.6, 60.0, 0.35, 600.0, 0.42), 2.0, 1.6, 1.0, 1.2, -0.1)
SPLIT = Budget(train=2.56e19, inference=2e9)


@pytest.mark.parametrize(
    ("law", "budget"),
    [
        (ONE, SPLIT),
        (ONE, Budget(total=1e20)),
        (TWO, Budget(train=TRAIN_FLOPS, inference=INFERENCE_FLOPS)),
        (TWO, Budget(total=1e14)),
    ],
)
def test_laws_that_agree_leave_no_band(law: Approach1Law | Approach2Law, budget: Budget) -> None:
    report = plan_budget(law, budget)
    bands = plan_bands(report, Resamples((law,) * 3, "3 times the same"))
    for name in ("N", "D", "k", "tokens_per_parameter", "pass_at_k"):
        value = getattr(report.t2, name)
        assert getattr(bands, name) == pytest.approx((value, value), rel=1e-4)
    assert bands.num_laws == 3


def test_bands_are_quantiles_of_closed_forms() -> None:
    """With beta = gamma, N = [alpha A / (beta (B (6/C_t)^beta + G (2/C_i)^beta))]^(1/(a + b))."""
    laws = tuple(replace(ONE, gamma=ONE.beta, G=float(G)) for G in np.geomspace(0.5, 5.0, 21))
    B, beta, power = ONE.B, ONE.beta, 1 / (ONE.alpha + ONE.beta)
    falls = [B * (6 / 2.56e19) ** beta + x.G * (2 / 2e9) ** beta for x in laws]
    N = [(ONE.alpha * ONE.A / (beta * fall)) ** power for fall in falls]
    found = plan_bands(plan_budget(laws[10], SPLIT), Resamples(laws, ""), level=0.8)
    assert pytest.approx(tuple(np.quantile(N, [0.1, 0.9])), rel=1e-6) == found.N
    assert (
        pytest.approx(tuple(np.quantile([2.56e19 / (6 * x) for x in N], [0.1, 0.9])), rel=1e-6)
        == found.D
    )
    assert found.k == pytest.approx(
        tuple(np.quantile([2e9 / (2 * x) for x in N], [0.1, 0.9])), rel=1e-6
    )


def test_bands_of_a_planted_counts_law_hold_the_best_plan() -> None:
    ladder = counts_ladder(from_records(planted_records(1)))
    law = fit_named(ladder, "counts", num_starts=8)
    report = plan_budget(law, Budget(train=TRAIN_FLOPS, inference=INFERENCE_FLOPS))
    bands = plan_bands(report, resample(ladder, law))
    assert bands.N[0] < np.exp(best_log_n(TRUTH)) < bands.N[1]
    assert bands.N[1] / bands.N[0] < 10
    best = report.t2
    truth = float(TRUTH.pass_at_k(best.N, best.D, best.k))
    assert bands.pass_at_k[0] < truth < bands.pass_at_k[1]
    again = plan_bands(report, resample(ladder, law))
    assert again == bands
    column = bands_column(bands, count)
    assert column["parameters N"] == f"{count(bands.N[0])} – {count(bands.N[1])}"
    assert bands_document(bands)["D"] == list(bands.D)  # type: ignore[index]
    assert "50 refits" in bands_line(bands)
    assert "--bands" in bands_line(None)
    assert bands_document(None) is None


def test_level_is_checked() -> None:
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 1"):
        plan_bands(plan_budget(ONE, SPLIT), Resamples((ONE,), ""), level=1)


def test_a_band_of_success_holds_the_prediction_itself() -> None:
    """Refits that all lie to one side of the fit do not push its own prediction out."""
    report = plan_budget(ONE, SPLIT)
    better = tuple(replace(ONE, A=ONE.A * share) for share in (0.5, 0.6, 0.7))
    low, high = plan_bands(report, Resamples(better, "")).pass_at_k
    assert low == report.t2.pass_at_k
    assert high > report.t2.pass_at_k
