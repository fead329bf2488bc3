from __future__ import annotations

import math
from dataclasses import replace

import pytest

from t2engine.costs.measurements import MEDIAN_ERROR, Measurement
from t2engine.costs.profile import HardwareProfile, build_profile
from t2engine.costs.roofs import roofs_of
from t2engine.costs.sharing import sharing_grid, sharing_pairs
from tests.costs.synthetic import EFFORT, synthetic_measurements


@pytest.fixture(scope="module")
def profile() -> HardwareProfile:
    return build_profile(synthetic_measurements(seed=3, noise=0.01))


def decode(profile: HardwareProfile, prompts: int, samples: int, prefix: int) -> Measurement:
    [point] = [
        p
        for p in profile.measured.of_kind("decode")
        if (p.shape["num_prompts"], p.shape["num_samples"]) == (prompts, samples)
        and (p.shape["prefix_len"], p.shape["suffix_len"]) == (prefix, 16)
    ]
    return point


def test_the_grid_is_the_designs(profile: HardwareProfile) -> None:
    grid = sharing_grid(profile)
    assert {(pair.prefix_len, pair.num_samples) for pair in grid} == {
        (length, n) for length in EFFORT.sharing_prompts for n in EFFORT.sharing_samples
    }
    assert len(grid) == len(EFFORT.sharing_prompts) * len(EFFORT.sharing_samples)
    assert {pair.model for pair in grid} == {"llama-256x8-v8192"}
    assert {pair.suffix_len for pair in grid} == {16}


def test_a_gain_is_of_two_measurements(profile: HardwareProfile) -> None:
    for pair in sharing_grid(profile):
        shared = decode(profile, 1, pair.num_samples, pair.prefix_len)
        unshared = decode(profile, pair.num_samples, pair.num_samples, pair.prefix_len)
        assert pair.gain == unshared.median / shared.median
        assert pair.is_held_out == (shared.held_out or unshared.held_out)
        variance = shared.spread**2 + unshared.spread**2
        expected = MEDIAN_ERROR * math.sqrt(variance / len(shared.seconds))
        assert pair.error == pytest.approx(expected)


def test_predicted_gains_are_the_planted_ones(profile: HardwareProfile) -> None:
    """The measured gain is the planted one within the noise; the fit must find it."""
    for pair in sharing_grid(profile):
        assert pair.predicted_gain == pytest.approx(pair.gain, rel=0.06)


def test_a_loss_is_seen(profile: HardwareProfile) -> None:
    slow = decode(profile, 1, 2, 128)
    points = tuple(
        replace(p, seconds=tuple(3 * s for s in p.seconds)) if p is slow else p
        for p in profile.measured.points
    )
    lost = replace(profile, measured=replace(profile.measured, points=points))
    losses = [pair for pair in sharing_pairs(lost) if pair.gain < 1]
    assert [(pair.num_samples, pair.prefix_len) for pair in losses] == [(2, 128)]


def test_no_pair_without_both(profile: HardwareProfile) -> None:
    points = tuple(
        p for p in profile.measured.points if p.kind != "decode" or p.shape["num_prompts"] == 1
    )
    alone = replace(profile, measured=replace(profile.measured, points=points))
    assert sharing_pairs(alone) == []
    assert sharing_grid(alone) == []


def test_roofs_are_the_fastest_probes(profile: HardwareProfile) -> None:
    roofs = roofs_of(profile.measured)
    products = profile.measured.of_kind("product")
    assert roofs.products == {"float32": max(p.flops / p.median for p in products)}
    assert roofs.memory == pytest.approx(3e10, rel=0.03)
    assert roofs.cache == pytest.approx(9e10, rel=0.03)
    assert roofs.copy == pytest.approx(2.5e10, rel=0.03)
    points = tuple(p for p in profile.measured.points if p.kind != "copy")
    assert roofs_of(replace(profile.measured, points=points)).copy is None
