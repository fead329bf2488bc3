"""What a person may ask plans to be priced by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.formula import Demand, FormulaCost
from t2engine.costs.options import CostOptions, cost_model
from t2engine.costs.profile import build_profile, profile_to_dict
from tests.costs.synthetic import scaled, synthetic_measurements

DEMAND = Demand(1e4, 16, 20)


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of a machine, and of one that takes twice as long for everything."""
    folder = tmp_path_factory.mktemp("profiles")
    paths = folder / "machine.json", folder / "slow.json"
    measured = synthetic_measurements(seed=0, noise=0.0)
    for path, factor in zip(paths, (1.0, 2.0), strict=True):
        path.write_text(json.dumps(profile_to_dict(build_profile(scaled(measured, factor)))))
    return paths


def model(**options: Any) -> CalibratedCost:
    cost = cost_model(CostOptions(**options))
    assert isinstance(cost, CalibratedCost)
    return cost


def test_without_a_profile_costs_are_by_formula() -> None:
    assert cost_model(CostOptions()) == FormulaCost()


def test_training_may_be_priced_on_another_machine(profiles: tuple[Path, Path]) -> None:
    one, both = model(profile=profiles[0]), model(profile=profiles[0], training_profile=profiles[1])
    assert float(both.train(1e6, 1e8) / one.train(1e6, 1e8)) == pytest.approx(2, rel=0.1)
    assert float(both.serve(1e6, 8, DEMAND)) == float(one.serve(1e6, 8, DEMAND))
    assert one.measured
    assert one.unit == "seconds"
    assert "serving in float32/float32 on A <planted> & noisy processor" in one.description


def test_hours_are_priced_machine_by_machine(profiles: tuple[Path, Path]) -> None:
    seconds = model(profile=profiles[0])
    for training, factor in ((None, 1e-3), (7.2, 2e-3)):
        usd = model(profile=profiles[0], usd_per_hour=3.6, training_usd_per_hour=training)
        assert usd.unit == "usd"
        assert float(usd.serve(1e6, 8, DEMAND) / seconds.serve(1e6, 8, DEMAND)) == pytest.approx(
            1e-3
        )
        assert float(usd.train(1e6, 1e8) / seconds.train(1e6, 1e8)) == pytest.approx(factor)


def test_a_larger_vocabulary_costs_more_at_equal_layers(profiles: tuple[Path, Path]) -> None:
    small, large = (model(profile=profiles[0], vocab_size=v) for v in (256, 32768))
    assert small.serving.vocab_size == 256
    assert large.training.vocab_size == 32768


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"usd_per_hour": 1.0}, "--usd-per-hour needs --profile"),
        ({"joules": True, "precision": "int8"}, "--precision, --joules needs --profile"),
        (
            {"profile": Path("x"), "joules": True, "usd_per_hour": 1.0},
            "in one unit: give --joules or --usd-per-hour",
        ),
        ({"profile": Path("x"), "training_usd_per_hour": 1.0}, "needs --usd-per-hour"),
        ({"profile": Path("x"), "vocab_size": 0}, "vocab_size must be at least 1, got 0"),
        ({"profile": Path("absent.json")}, "absent.json: no such file"),
    ],
)
def test_what_cannot_be_priced_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cost_model(CostOptions(**options))
