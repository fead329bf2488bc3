"""Laws as plain dicts (law.json) and back.

    {"format": "t2engine.law", "version": 2, "law": "approach1", "parameters": {...}, "fit": {...}}

A file may carry "resamples" beside a counts law, the refits that its bands are drawn from
(laws/resample_file.py), and "alternatives", other laws of the same observations. Version 1 has
neither.

Raises: ValueError naming the key, what was expected and what was there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.approach2 import Approach2Law
from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.counts import CountsLaw
from t2engine.laws.counts_likelihood import NAMES
from t2engine.laws.draws import Resamples, resamples_of
from t2engine.laws.law import FitReport
from t2engine.laws.resample_file import bands_from_dict, bands_to_dict
from t2engine.laws.splits import FittedLaw

FORMAT = "t2engine.law"
VERSION = 2  # 2: `resamples` and `alternatives` may stand beside the law
READABLE = [1, VERSION]

Read = TypeVar("Read")
Law = ChinchillaLaw | Approach1Law | Approach2Law | CountsLaw

LAWS: dict[str, type[Law]] = {
    "chinchilla": ChinchillaLaw,
    "approach1": Approach1Law,
    "approach2": Approach2Law,
    "counts": CountsLaw,
}
NOT_NUMBERS = ("fit", "training", "covariance")


@dataclass(frozen=True, eq=False)
class LawFile:
    """A law of pass@k, its refits, and what else was fitted to the same observations."""

    law: FittedLaw
    resamples: Resamples | None = None
    alternatives: tuple[FittedLaw, ...] = ()


def law_to_dict(law: Law) -> dict[str, Any]:
    names = [x.name for x in fields(law) if x.name not in NOT_NUMBERS]
    document: dict[str, Any] = {"format": FORMAT, "version": VERSION, "law": law.name}
    document["parameters"] = {name: getattr(law, name) for name in names}
    document["fit"] = None if law.fit is None else asdict(law.fit)
    if isinstance(law, (Approach2Law, CountsLaw)):
        document["training"] = law_to_dict(law.training)
    if isinstance(law, CountsLaw):
        document["covariance"] = [list(row) for row in law.covariance]
    return document


def law_file_to_dict(file: LawFile) -> dict[str, Any]:
    """`resamples` are written where they are refits of a counts law."""
    document = law_to_dict(file.law)
    if file.resamples is not None and file.resamples.bands is not None:
        document["resamples"] = bands_to_dict(file.resamples.bands)
    return document | {"alternatives": [law_to_dict(law) for law in file.alternatives]}


def law_from_dict(document: Mapping[str, Any]) -> Law:
    if not isinstance(document, Mapping):
        raise ValueError(f"a law must be an object, got {type(document).__name__}")
    _expect(document, "format", [FORMAT])
    _expect(document, "version", READABLE)
    _expect(document, "law", list(LAWS))
    kind = document["law"]
    parameters, fit = _parameters(document, kind), _fit(document.get("fit"))
    if kind == "chinchilla":
        return ChinchillaLaw(**parameters, fit=fit)
    if kind == "approach1":
        return Approach1Law(**parameters, fit=fit)
    training = law_from_dict(document.get("training", {}))
    if not isinstance(training, ChinchillaLaw):
        raise ValueError(f"training must be a chinchilla law, got {training.name}")
    if kind == "counts":
        covariance = _covariance(document.get("covariance"))
        return CountsLaw(training=training, **parameters, covariance=covariance, fit=fit)
    return Approach2Law(training=training, **parameters, fit=fit)


def law_file_from_dict(document: Mapping[str, Any]) -> LawFile:
    law, resamples = _pass_law(document), None
    given, others = document.get("resamples"), document.get("alternatives", [])
    if given is not None:
        if not isinstance(law, CountsLaw):
            raise ValueError(f"law file: only a counts law has resamples, got {law.name}")
        resamples = resamples_of(bands_from_dict(given, law))
    if not isinstance(others, list):
        raise ValueError(f"law file: alternatives must be a list of laws, got {others!r:.80}")
    return LawFile(law, resamples, tuple(_pass_law(other) for other in others))


def _pass_law(document: Mapping[str, Any]) -> FittedLaw:
    law = law_from_dict(document)
    if isinstance(law, ChinchillaLaw):
        raise ValueError("a law of pass@k is needed, a chinchilla law has no k")
    return law


def read_law(path: str | Path) -> Law:
    return _read(path, law_from_dict)


def read_law_file(path: str | Path) -> LawFile:
    return _read(path, law_file_from_dict)


def _read(path: str | Path, convert: Callable[[Mapping[str, Any]], Read]) -> Read:
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file in UTF-8: {error}") from error
    try:
        return convert(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_pass_law(path: str | Path) -> FittedLaw:
    return read_law_file(path).law


def read_shipped_law() -> FittedLaw:
    return read_shipped_law_file().law


def read_shipped_law_file() -> LawFile:
    """What `t2 fit` makes of the shipped observations, so that a plan need not wait for it."""
    shipped = files("t2engine") / "study" / "data" / "law.json"
    if not shipped.is_file():
        raise ValueError(
            f"the shipped law is missing from this installation ({shipped}): reinstall t2engine, "
            "or say which law to fit with --law"
        )
    with as_file(shipped) as path:
        return read_law_file(path)


def _expect(document: Mapping[str, Any], key: str, allowed: list[Any]) -> None:
    if document.get(key) not in allowed:
        choices = " or ".join(map(repr, allowed))
        raise ValueError(f"law file: {key} must be {choices}, got {document.get(key)!r}")


def _parameters(document: Mapping[str, Any], kind: str) -> dict[str, float]:
    names = {x.name for x in fields(LAWS[kind])} - set(NOT_NUMBERS)
    given = document.get("parameters")
    if not isinstance(given, Mapping) or set(given) != names:
        raise ValueError(f"law file: parameters must be {sorted(names)}, got {given!r}")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"law file: parameter {name} must be a number, got {value!r}")
    return {name: float(value) for name, value in given.items()}


def _covariance(given: Any) -> tuple[tuple[float, ...], ...]:
    P = len(NAMES)
    if not isinstance(given, list) or (given and list(np.shape(given)) != [P, P]):
        raise ValueError(f"law file: covariance must be [] or {P} rows of {P}, got {given!r}")
    return tuple(tuple(map(float, row)) for row in given)


def _fit(given: Any) -> FitReport | None:
    if given is None:
        return None
    names = {x.name for x in fields(FitReport)}
    if not isinstance(given, Mapping) or set(given) != names:
        raise ValueError(f"law file: fit must be null or have {sorted(names)}, got {given!r}")
    tuples = {"bounds_hit", "N_range", "D_range", "k_range"}
    values: dict[str, Any] = {x: tuple(v) if x in tuples else v for x, v in given.items()}
    return FitReport(**values)
