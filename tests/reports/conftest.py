"""A planted profile, fitted once."""

from __future__ import annotations

import pytest

from t2engine.costs.profile import HardwareProfile, build_profile
from tests.costs.synthetic import synthetic_measurements


@pytest.fixture(scope="session")
def planted() -> HardwareProfile:
    return build_profile(synthetic_measurements(seed=1, noise=0.02))
