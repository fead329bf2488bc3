from __future__ import annotations

import json

import pytest

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.counts import CountsLaw
from t2engine.laws.law_file import law_from_dict, law_to_dict, read_shipped_law
from t2engine.laws.observations import read_shipped_observations
from t2engine.laws.selection import fit_law
from t2engine.laws.splits import counts_ladder
from tests.laws.ladder import observations

LAW = Approach1Law(E=0.8, A=40.0, alpha=0.25, B=300.0, beta=0.3, G=1.5, gamma=0.4)


@pytest.mark.parametrize("name", ["approach1", "approach2"])
def test_a_fitted_law_survives_json(name: str) -> None:
    law = fit_law(counts_ladder(observations(num_questions=40)), name).law
    assert law_from_dict(json.loads(json.dumps(law_to_dict(law)))) == law
    training = law.training
    assert law_from_dict(json.loads(json.dumps(law_to_dict(training)))) == training


def test_coefficients_from_elsewhere_survive_too() -> None:
    assert law_from_dict(law_to_dict(LAW)) == LAW
    assert isinstance(law_from_dict(law_to_dict(LAW.training)), ChinchillaLaw)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version must be 1, got 2"),
        ({"version": None}, "version must be 1, got None"),
        ({"format": "other"}, "format must be 't2engine.law', got 'other'"),
        ({"law": "approach3"}, "law must be .* got 'approach3'"),
        ({"parameters": {"E": 1.0}}, "parameters must be"),
        ({"parameters": law_to_dict(LAW)["parameters"] | {"E": "1"}}, "E must be a number"),
        ({"fit": {"converged": True}}, "fit must be null or have"),
    ],
)
def test_a_foreign_file_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        law_from_dict(law_to_dict(LAW) | change)


def test_something_that_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="a law must be an object, got list"):
        law_from_dict([])  # type: ignore[arg-type]


def test_the_shipped_law_is_what_fits_the_shipped_observations() -> None:
    shipped = read_shipped_law()
    assert isinstance(shipped, CountsLaw)  # the best on checkpoints held out, by `t2 fit`
    fitted = fit_law(counts_ladder(read_shipped_observations()), "counts").law
    assert shipped.vector == pytest.approx(fitted.vector, rel=1e-3, abs=1e-3)
    assert shipped.pass_at_k(1e5, 1e7, [1, 10, 100]) == pytest.approx(
        fitted.pass_at_k(1e5, 1e7, [1, 10, 100]), abs=1e-4
    )
