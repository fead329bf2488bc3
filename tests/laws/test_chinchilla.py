from __future__ import annotations

import numpy as np
import pytest

from t2engine.laws.chinchilla import ChinchillaLaw, fit_chinchilla
from t2engine.laws.gamma import Array
from t2engine.laws.power_sum import power_sum
from tests.laws.ladder import column, public_table


@pytest.fixture(scope="module")
def epoch() -> tuple[Array, Array, Array]:
    rows = public_table("chinchilla_epoch.csv")
    N, C, loss = column(rows, "N"), column(rows, "C"), column(rows, "loss")
    kept = np.argsort(loss)[:-5]
    return N[kept], C[kept] / (6 * N[kept]), loss[kept]


@pytest.fixture(scope="module")
def law(epoch: tuple[Array, Array, Array]) -> ChinchillaLaw:
    return fit_chinchilla(*epoch, num_resamples=1000)


def test_replication_of_chinchilla(law: ChinchillaLaw) -> None:
    assert law.fit is not None
    assert law.fit.converged
    assert law.fit.bounds_hit == ()
    assert law.fit.num_points == 240
    assert law.fit.objective <= 1.018275e-3
    assert pytest.approx(477.83, abs=5) == law.A
    assert pytest.approx(2143.4, abs=50) == law.B
    assert (law.E, law.alpha, law.beta) == pytest.approx((1.8172, 0.3473, 0.3672), abs=1e-3)


def test_bootstrap_standard_errors(law: ChinchillaLaw) -> None:
    assert law.fit is not None
    want = {"A": 116, "B": 1427, "E": 0.026, "alpha": 0.0147, "beta": 0.0208}
    assert law.fit.standard_errors == {x: pytest.approx(s, rel=0.25) for x, s in want.items()}


def test_compute_optimal_tokens_per_parameter(law: ChinchillaLaw) -> None:
    C = 5.88e23
    ratio = law.alpha * law.A / (law.beta * law.B)
    N = (ratio * (C / 6) ** law.beta) ** (1 / (law.alpha + law.beta))
    assert pytest.approx(17.9, abs=0.3) == C / (6 * N**2)


def test_least_absolute_deviations_give_the_published_values(
    epoch: tuple[Array, Array, Array],
) -> None:
    N, D, loss = epoch
    problem = power_sum(loss, {"A": (N, "alpha"), "B": (D, "beta")}, relative=True)
    found = problem.named(problem.fit(num_starts=32, seed=0, huber_delta=1e-6).values)
    assert found["A"] == pytest.approx(482.01, abs=0.5)
    assert found["B"] == pytest.approx(2085.43, abs=2)
    values = (found["E"], found["alpha"], found["beta"])
    assert values == pytest.approx((1.8172, 0.3478, 0.3658), abs=5e-4)


def test_porian_refinedweb() -> None:
    wanted = {"hparams": "base", "warmup": "short", "decay": "chinchilla"}
    rows = [
        row
        for row in public_table("porian_refinedweb.csv")
        if all(row[name] == value for name, value in wanted.items())
    ]
    assert len(rows) == 88
    N, D, loss = column(rows, "N"), column(rows, "D"), column(rows, "loss")
    law = fit_chinchilla(N, D, loss, residual="squared")
    assert law.fit is not None
    assert law.fit.converged
    assert pytest.approx(2.598, abs=0.02) == law.E
    assert (law.alpha, law.beta) == pytest.approx((0.503, 0.507), abs=0.01)
    assert law.fit.rmse == pytest.approx(0.0971, abs=1e-4)


@pytest.mark.parametrize("residual", ["log_huber", "squared"])
def test_recovers_planted_parameters(residual: str) -> None:
    truth = ChinchillaLaw(E=1.7, A=400.0, alpha=0.34, B=410.0, beta=0.28)
    N, D = (x.ravel() for x in np.meshgrid([1e6, 1e7, 1e8, 1e9], [1e9, 1e10, 1e11]))
    law = fit_chinchilla(N, D, truth.loss(N, D), residual=residual)
    for name in ("E", "A", "alpha", "B", "beta"):
        assert getattr(law, name) == pytest.approx(getattr(truth, name), rel=1e-6)


def test_too_few_checkpoints_or_bad_losses_are_refused() -> None:
    N, D = np.array([1e6, 1e6, 1e7, 1e7, 1e8, 1e8]), np.array([1e9, 1e10, 1e11] * 2)
    with pytest.raises(ValueError, match=r"at least 6 checkpoints .* got 5 over 3 and 3"):
        fit_chinchilla(N[:5], D[:5], np.ones(5))
    with pytest.raises(ValueError, match="got 6 over 1 and 3"):
        fit_chinchilla(np.full(6, 1e6), D, np.ones(6))
    with pytest.raises(ValueError, match="loss must be finite and above 0"):
        fit_chinchilla(N, D, [1, 2, 3, 4, 5, np.nan])
    with pytest.raises(ValueError, match="residual must be"):
        fit_chinchilla(N, D, np.ones(6), residual="huber")
