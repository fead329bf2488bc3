from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.counts import CountsLaw, law_of
from t2engine.laws.counts_likelihood import NAMES
from t2engine.laws.shifts import shifted_laws
from tests.laws.planted import TRUTH


def vector_of(law: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    assert isinstance(law, CountsLaw)
    return law.vector


def test_each_parameter_moves_by_its_error_and_takes_the_others_along() -> None:
    """Where parameters are linear in one number, moving any one of them moves all by its error."""
    direction = np.linspace(0.1, 0.3, len(NAMES)) * np.array([1, -1] * 4 + [1])
    law = replace(TRUTH, covariance=tuple(map(tuple, np.outer(direction, direction).tolist())))
    for i, shifted in enumerate(shifted_laws(law).values()):
        want = law.vector + direction * np.sign(direction[i])
        assert vector_of(shifted) == pytest.approx(want, rel=1e-9)


def test_independent_parameters_move_alone() -> None:
    errors = np.linspace(0.1, 0.2, len(NAMES))
    errors[NAMES.index("ceiling")] = 0.0  # on its bound
    law = replace(TRUTH, covariance=tuple(map(tuple, np.diag(errors**2).tolist())))
    found = shifted_laws(law)
    assert set(found) == set(NAMES) - {"ceiling"}
    for name, shifted in found.items():
        at = NAMES.index(name)
        want = law.vector + errors[at] * np.eye(len(NAMES))[at]
        assert vector_of(shifted) == pytest.approx(want, rel=1e-9)


def test_refits_go_before_the_covariance() -> None:
    law = replace(TRUTH, covariance=tuple(map(tuple, np.eye(len(NAMES)).tolist())))
    rng = np.random.default_rng(0)
    vectors = law.vector + 0.01 * rng.normal(size=(40, len(NAMES)))
    found = shifted_laws(law, [law_of(vector) for vector in vectors])
    for name, shifted in found.items():
        at = NAMES.index(name)
        moved = vector_of(shifted)[at] - law.vector[at]
        assert moved == pytest.approx(vectors[:, at].std(ddof=1), rel=1e-6)


def test_a_law_without_errors_has_no_shifts() -> None:
    assert shifted_laws(Approach1Law(0.1, 40.0, 0.3, 300.0, 0.35, 1.5, 0.4)) == {}
    assert shifted_laws(TRUTH) == {}
