from __future__ import annotations

from dataclasses import replace

import pytest

from t2engine.costs.comparison import Comparison, compare
from t2engine.costs.evaluation import summarise
from t2engine.costs.measurements import Measurements
from t2engine.costs.profile import HardwareProfile, build_profile
from tests.costs.synthetic import scaled, synthetic_measurements

KINDS = {"launch", "product", "read", "copy", "draw", "sample", "decode", "prefill", "training"}


@pytest.fixture(scope="module")
def profile() -> HardwareProfile:
    return build_profile(synthetic_measurements(seed=2, noise=0.02))


@pytest.fixture(scope="module")
def itself(profile: HardwareProfile) -> Comparison:
    return compare(profile, profile)


def measured_as(profile: HardwareProfile, measured: Measurements) -> HardwareProfile:
    """Other measurements; what is fitted to the new ones plays no part in a comparison."""
    return replace(profile, measured=measured)


def test_a_profile_is_as_fast_as_itself(itself: Comparison) -> None:
    assert itself.differences == ()
    assert itself.warnings == ()
    assert {row.kind for row in itself.ratios} == KINDS
    for row in (*itself.ratios, itself.steps):
        assert row is not None
        assert (row.median, row.tenth, row.ninetieth) == (1, 1, 1)
    assert itself.old_roofs == itself.new_roofs
    steps = [p for p in itself.new.measured.points if p.kind in ("decode", "prefill", "training")]
    assert itself.steps is not None
    assert itself.steps.count == len(steps) == sum(row.errors.count for row in itself.transfers)


def test_the_honest_test_is_that_of_held_out_points(profile: HardwareProfile) -> None:
    """On the held-out points alone, the old model is as far off as the profile says it is."""
    kept = [p for p in profile.measured.points if p.held_out or p.kind in ("product", "read")]
    only = replace(profile.measured, points=tuple(kept))
    found = compare(profile, measured_as(profile, only))
    by_kind = {row.name: row for row in summarise(profile.held_out)}
    assert [row.kind for row in found.transfers] == list(by_kind)
    for row in found.transfers:
        assert replace(row.errors, name=row.kind) == by_kind[row.kind]


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_pace(profile: HardwareProfile, itself: Comparison, factor: float) -> None:
    """A machine that takes `factor` times as long: every ratio says so, and the old model is as
    good as it was once its predictions are multiplied by the pace."""
    found = compare(profile, measured_as(profile, scaled(profile.measured, factor)))
    for row in (*found.ratios, found.steps):
        assert row is not None
        assert (row.tenth, row.median, row.ninetieth) == pytest.approx((factor,) * 3)
    assert found.new_roofs.memory == pytest.approx(found.old_roofs.memory / factor)
    for row, before in zip(found.transfers, itself.transfers, strict=True):
        assert row.bias == pytest.approx(factor * before.bias)
        assert row.at_pace == pytest.approx(before.at_pace)
        assert row.errors.median > 0.3
        assert row.errors.covered < 0.1 < 0.7 < before.errors.covered


def test_spread_of_ratios(profile: HardwareProfile) -> None:
    """Quantiles of a kind whose every point has a ratio of its own."""
    points = list(profile.measured.points)
    where = [i for i, point in enumerate(points) if point.kind == "decode"]
    for rank, i in enumerate(where):
        factor = 1 + rank / (len(where) - 1)
        points[i] = replace(points[i], seconds=tuple(factor * s for s in points[i].seconds))
    new = replace(profile.measured, points=tuple(points))
    [row] = [r for r in compare(profile, measured_as(profile, new)).ratios if r.kind == "decode"]
    assert (row.tenth, row.median, row.ninetieth) == pytest.approx((1.1, 1.5, 1.9))
    assert row.precision == "float32/float32"


def test_another_machine_is_named(profile: HardwareProfile) -> None:
    old = profile.measured
    packages = {**old.machine["packages"], "torch": "2.9.0", "triton": "3.0"}
    machine = {**old.machine, "cpu": "Another", "packages": packages}
    machine["extension"] = {"chosen_isa": "avx512"}
    new = replace(old, machine=machine, conditions={**old.conditions, "threads": 2, "device": "x"})
    found = compare(profile, measured_as(profile, new))
    assert {(d.name, d.old, d.new) for d in found.differences} == {
        ("cpu", old.machine["cpu"], "Another"),
        ("instruction set", "avx2", "avx512"),
        ("torch", "2.8.0", "2.9.0"),
        ("triton", None, "3.0"),
        ("threads", 4, 2),
        ("device", "cpu", "x"),
    }
    for difference in found.differences:
        assert any(warning.startswith(f"{difference.name} differs") for warning in found.warnings)


def test_points_are_the_same_by_shape_and_model(profile: HardwareProfile) -> None:
    old = profile.measured
    renamed = replace(
        old,
        models={f"{name} again": config for name, config in old.models.items()},
        points=tuple(
            replace(p, shape={**p.shape, "model": f"{p.shape['model']} again"})
            if "model" in p.shape
            else p
            for p in old.points
        ),
    )
    same, before = compare(profile, measured_as(profile, renamed)), compare(profile, profile)
    assert same.ratios == before.ratios
    other = {name: replace(config, norm_eps=1e-6) for name, config in old.models.items()}
    found = compare(profile, measured_as(profile, replace(old, models=other)))
    assert {row.kind for row in found.ratios} == KINDS - {"decode", "prefill", "training"}
    assert found.steps is None
    assert any("no step was measured in both" in warning for warning in found.warnings)


def test_what_the_old_profile_cannot_predict(profile: HardwareProfile) -> None:
    old = replace(profile, steps={}, training=None)
    found = compare(old, profile)
    assert found.transfers == ()
    assert any("has no model" in warning for warning in found.warnings)


def test_busy_rounds_are_told(profile: HardwareProfile) -> None:
    busy = replace(profile.measured, conditions={**profile.measured.conditions, "busy_rounds": 3})
    [warning] = compare(profile, measured_as(profile, busy)).warnings
    assert "3 rounds of the new" in warning
