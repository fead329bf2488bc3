"""The cheapest of existing models: published counts, planted ones, and what no model reaches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.formula import Demand
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import build_profile
from t2engine.laws.beta_binomial import fit_beta_binomial
from t2engine.laws.observations import from_records
from t2engine.laws.passk import beta_pass_at_k
from t2engine.plan.choice import Candidate, candidates_from, choose_model
from t2engine.schema import Observation
from tests.costs.synthetic import synthetic_measurements
from tests.laws.ladder import column, public_table


def pythia() -> list[Candidate]:
    """The nine checkpoints of 300B tokens."""
    rows = [r for r in public_table("pythia_gsm8k_counts.csv") if r["model"].endswith("_300B")]
    found = []
    for name in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == name]
        counts = column(own, "num_samples"), column(own, "num_correct")
        found.append(Candidate(name, float(own[0]["N"]), *counts))
    return found


def planted(model: str, N: float, a: float, b: float, seed: int = 0) -> Candidate:
    rng = np.random.default_rng(seed)
    n = np.full(400, 64.0)
    return Candidate(model, N, n, rng.binomial(64, rng.beta(a, b, 400)).astype(float))


@pytest.mark.parametrize(
    ("target", "k"), [(0.05, 7), (0.1, 14), (0.2, 33), (0.4, 96), (0.6, 254), (0.8, 934)]
)
def test_the_cheapest_pythia_on_gsm8k(target: float, k: int) -> None:
    """Of 2 N k, the cost of a token of each sample of one question."""
    candidates = pythia()
    assert len(candidates) == 9
    report = choose_model(candidates, target, Demand(1, 1))
    best = report.best
    assert best is not None
    assert (best.model, best.k) == ("Pythia_410M_300B", k)
    assert best.cost == 2 * 410e6 * k


@pytest.mark.parametrize("target", [0.1, 0.5, 0.9])
def test_no_model_and_k_is_cheaper(target: float) -> None:
    """Against every k of every model."""
    candidates = [
        planted("small", 1e6, 0.4, 6),
        planted("middle", 5e6, 0.8, 4),
        planted("large", 3e7, 1.5, 3),
    ]
    demand = Demand(1e3, 20, 50)
    best = choose_model(candidates, target, demand).best
    assert best is not None
    k = np.arange(1, 20_000)
    costs = []
    for x in candidates:
        fit = fit_beta_binomial(x.num_samples, x.num_correct)
        reaches = beta_pass_at_k(fit.a, fit.b, k) >= target
        costs.append(np.min(1e3 * 2 * x.N * (20 * k[reaches] + 50)))
    assert best.cost == pytest.approx(min(costs), rel=1e-12)
    assert best.model == candidates[int(np.argmin(costs))].model


def test_options_are_in_order_and_the_interval_holds_the_estimate() -> None:
    candidates = [planted(f"m{i}", 10.0**i, 0.3 * i, 5, seed=i) for i in (7, 5, 6)]
    report = choose_model(candidates, 0.5)
    costs = [x.cost for x in report.options if x.cost is not None]
    assert costs == sorted(costs)
    assert report.accuracy is not None
    assert report.best is not None
    assert report.accuracy[0] < report.best.pass_at_k < report.accuracy[1]


def test_measured_costs_may_choose_another_model() -> None:
    """By formula N counts; on a machine many samples of a small model wait for the host too."""
    costs = MachineCosts(build_profile(synthetic_measurements(seed=0, noise=0.0)))
    cost = CalibratedCost(costs, costs)
    candidates = [planted("small", 3e5, 0.2, 8), planted("large", 3e6, 2, 3)]
    demand = Demand(1e4, 16, 20)
    report = choose_model(candidates, 0.5, demand, cost)
    for option in report.options:
        assert option.cost == pytest.approx(float(cost.serve(option.N, option.k, demand)))
        assert option.interval is not None
        assert option.interval[0] < option.cost < option.interval[1]
    assert (report.unit, report.measured) == ("seconds", True)


def test_a_target_out_of_reach_leaves_no_best() -> None:
    candidates = [planted("a", 1e6, 0.4, 6), planted("b", 1e7, 0.8, 4)]
    report = choose_model(candidates, 0.999, max_k=8)
    assert report.best is None
    assert report.accuracy is None
    assert [x.model for x in report.options] == ["b", "a"]  # the nearest first


def test_a_model_without_a_success_is_never_chosen() -> None:
    never = planted("never", 1e3, 1, 1)
    never = replace(never, num_correct=np.zeros(400))
    report = choose_model([never, planted("a", 1e6, 0.4, 6)], 0.3)
    assert report.best is not None
    assert report.best.model == "a"
    assert "not one sample was right" in report.options[-1].warnings[0]


def test_more_samples_than_were_drawn_is_said() -> None:
    [option] = choose_model([planted("a", 1e6, 0.4, 6)], 0.9).options
    assert option.k is not None
    assert option.k > 64
    assert "is more than was drawn for 400 of 400 questions" in option.warnings[0]


def test_models_are_picked_by_name() -> None:
    records = [Observation(f"m{i}", 10 + i, 7, f"q{j}", 4, 2) for i in range(3) for j in range(2)]
    observations = from_records(records)
    assert [x.model for x in candidates_from(observations, "m[02]")] == ["m0", "m2"]
    with pytest.raises(ValueError, match="no model's name matches 'x'; there are m0, m1, m2"):
        candidates_from(observations, "x")
    twice = from_records([*records, Observation("m0", 10, 8, "q0", 4, 2)])
    with pytest.raises(ValueError, match="m0 is the name of 2 checkpoints"):
        candidates_from(twice)


@pytest.mark.parametrize(
    ("target", "max_k", "num", "message"),
    [
        (0.0, 8, 1, "above 0 and below 1, got 0"),
        (1.0, 8, 1, "above 0 and below 1, got 1"),
        (0.5, 0, 1, "max_k must be at least 1, got 0"),
        (0.5, 8, 0, "at least one model"),
    ],
)
def test_what_cannot_be_asked_is_refused(target: float, max_k: int, num: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_model([planted("a", 1e6, 0.4, 6)] * num, target, max_k=max_k)
