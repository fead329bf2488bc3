from __future__ import annotations

import json
from typing import Any

import pytest

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.counts import CountsLaw
from t2engine.laws.draws import resample
from t2engine.laws.law_file import (
    LawFile,
    law_file_from_dict,
    law_file_to_dict,
    law_from_dict,
    law_to_dict,
    read_shipped_law,
    read_shipped_law_file,
)
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
        ({"version": 3}, "version must be 1 or 2, got 3"),
        ({"version": None}, "version must be 1 or 2, got None"),
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


def test_the_shipped_refits_are_those_of_the_shipped_observations() -> None:
    """Bands without a fit: the same laws, and the same band of a new checkpoint."""
    file = read_shipped_law_file()
    assert file.resamples is not None
    drawn = resample(counts_ladder(read_shipped_observations()), file.law)
    assert file.resamples.source == drawn.source
    assert len(file.resamples.laws) == len(drawn.laws) == 50
    for stored, law in zip(file.resamples.laws, drawn.laws, strict=True):
        stored_pass, fitted_pass = (x.pass_at_k(1e5, 1e7, [1, 10, 100]) for x in (stored, law))
        assert stored_pass == pytest.approx(fitted_pass, abs=1e-4)
    for N, D, k in ((5e4, 3e6, 4), (7.7e4, 1.15e9, 191)):
        band = file.resamples.pass_band(N, D, k, 0.9)
        assert band == pytest.approx(drawn.pass_band(N, D, k, 0.9), abs=1e-4)
    assert [law.name for law in file.alternatives] == ["approach1", "approach2"]


def test_a_file_with_refits_and_alternatives_survives_json() -> None:
    file = read_shipped_law_file()
    again = law_file_from_dict(json.loads(json.dumps(law_file_to_dict(file))))
    assert (again.law, again.alternatives) == (file.law, file.alternatives)
    assert again.resamples is not None
    assert file.resamples is not None
    for stored, law in zip(again.resamples.laws, file.resamples.laws, strict=True):
        assert stored.pass_at_k(1e5, 1e7, 9) == pytest.approx(law.pass_at_k(1e5, 1e7, 9), 1e-12)
    assert again.resamples.pass_band(1e5, 1e8, 30, 0.9) == pytest.approx(
        file.resamples.pass_band(1e5, 1e8, 30, 0.9), rel=1e-12
    )


def test_a_file_of_version_1_has_a_law_alone() -> None:
    document = law_to_dict(read_shipped_law()) | {"version": 1}
    file = law_file_from_dict(document)
    assert file.law == read_shipped_law()
    assert file.resamples is None
    assert file.alternatives == ()
    assert "resamples" not in law_file_to_dict(LawFile(LAW))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rest": [[0.0]]}, r"rest of resamples must be \[27, 13\] numbers, got \[1, 1\]"),
        ({"D": 3.0}, r"D of resamples must be \[27\] numbers, got \[1\]"),
        ({"parameters": []}, r"parameters of resamples must be \[0, 9\] numbers"),
        ({"parameters": [[1.0], [1.0, 2.0]]}, "must be numbers in rows"),
        ({"N": [float("nan")] * 27}, "N of resamples must be finite"),
        ({"seed": "0"}, "seed of resamples must be a whole number, got '0'"),
        ({"more": 1}, "resamples must be null or have"),
    ],
)
def test_foreign_refits_are_refused(change: dict[str, Any], message: str) -> None:
    document = law_file_to_dict(read_shipped_law_file())
    with pytest.raises(ValueError, match=message):
        law_file_from_dict(document | {"resamples": document["resamples"] | change})


def test_refits_and_alternatives_must_be_laws_of_success() -> None:
    refits = law_file_to_dict(read_shipped_law_file())["resamples"]
    with pytest.raises(ValueError, match="only a counts law has resamples, got approach1"):
        law_file_from_dict(law_to_dict(LAW) | {"resamples": refits})
    with pytest.raises(ValueError, match="a chinchilla law has no k"):
        law_file_from_dict(law_to_dict(LAW) | {"alternatives": [law_to_dict(LAW.training)]})
    with pytest.raises(ValueError, match="alternatives must be a list of laws, got 'none'"):
        law_file_from_dict(law_to_dict(LAW) | {"alternatives": "none"})
