"""What a device and a counter add to a profile's file."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from t2engine.costs.energy_fit import EnergyFit
from t2engine.costs.measurements import Measurements
from t2engine.costs.profile import HardwareProfile, profile_from_dict, profile_to_dict

MEASURED = Measurements(
    machine={"cpu": "a processor", "gpu": "a GPU"},
    conditions={"device": "cuda", "threads": 3},
    models={},
    points=(),
    chunk_tokens=2048,
    energy={"counter": "a counter", "points": []},
    row_buckets=(1, 2, 64),
)
ENERGY = EnergyFit(70.0, 1e-12, 2e-11, 0.05, 0.2, 8)


@pytest.mark.parametrize("energy", [ENERGY, None])
def test_a_file_gives_back_what_was_put_there(energy: EnergyFit | None):
    profile = HardwareProfile(MEASURED, {}, None, (), energy)
    document = json.loads(json.dumps(profile_to_dict(profile)))
    assert profile_from_dict(document) == profile


def test_the_energy_fit_may_be_left_out_and_the_buckets_not():
    document = profile_to_dict(HardwareProfile(MEASURED, {}, None, (), ENERGY))
    del document["energy_fit"]
    assert profile_from_dict(document).energy is None
    del document["row_buckets"]
    with pytest.raises(ValueError, match="missing: row_buckets"):
        profile_from_dict(document)


def test_an_energy_fit_has_exactly_its_fields():
    document = profile_to_dict(HardwareProfile(MEASURED, {}, None, (), ENERGY))
    document["energy_fit"]["more"] = 1
    with pytest.raises(ValueError, match="energy_fit must have watts_static"):
        profile_from_dict(document)


def test_a_machine_is_named_by_what_was_measured():
    assert HardwareProfile(MEASURED, {}, None, ()).machine == "a GPU"
    on_cpu = replace(MEASURED, conditions={"device": "cpu", "threads": 3})
    assert HardwareProfile(on_cpu, {}, None, ()).machine == "a processor, 3 threads"
