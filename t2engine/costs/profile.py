"""A hardware profile: what a calibration measured, what was fitted to it, and how far off that is.

    {"format": "t2engine.profile", "version": 1, "machine": ..., "conditions": ..., "models": ...,
     "points": [...], "chunk_tokens": ..., "row_buckets": [], "energy": ...,
     "steps": {"float32/float32": ...}, "training": ..., "held_out": [...],
     "energy_fit": ...}

Everything in a profile but the raw data follows from them: reading one does not fit again, and
`build_profile` on its measurements gives the same numbers.

Units:  as in measurements.py, step_fit.py and training_fit.py.
Raises: ValueError naming the file, the key, what was expected and what was there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from t2engine.costs.energy_fit import EnergyFit, fit_energy
from t2engine.costs.evaluation import HeldOut, held_out_errors
from t2engine.costs.fitting import HalfWidths
from t2engine.costs.measurements import Measurement, Measurements
from t2engine.costs.step_fit import StepFit, fit_steps
from t2engine.costs.step_time import StepRates
from t2engine.costs.training_fit import TrainingFit, fit_training
from t2engine.costs.training_time import TrainingRates
from t2engine.schema import ModelConfig, RopeScaling

FORMAT, VERSION = "t2engine.profile", 1
KEYS = (
    *("format", "version", "machine", "conditions", "models", "points", "chunk_tokens"),
    *("row_buckets", "energy", "steps", "training", "held_out"),
)
T = TypeVar("T")


@dataclass(frozen=True)
class HardwareProfile:
    measured: Measurements
    steps: Mapping[str, StepFit]  # by precision, as weights/cache
    training: TrainingFit | None
    held_out: tuple[HeldOut, ...]
    energy: EnergyFit | None = None  # None where joules were not counted

    @property
    def machine(self) -> str:
        """The GPU measured, or the processor with the threads used, in words."""
        found, how = self.measured.machine, self.measured.conditions
        if how.get("device", "cpu") != "cpu":
            return str(found["gpu"])
        return f"{found['cpu']}, {how['threads']} threads"


def build_profile(measured: Measurements) -> HardwareProfile:
    steps = {name: fit_steps(measured, name) for name in measured.precisions()}
    training = fit_training(measured) if measured.of_kind("training") else None
    held_out = held_out_errors(measured, steps, training)
    return HardwareProfile(measured, steps, training, held_out, fit_energy(measured))


# ---- the file ----------------------------------------------------------------------------------


def profile_to_dict(profile: HardwareProfile) -> dict[str, Any]:
    measured = profile.measured
    return {
        "format": FORMAT,
        "version": VERSION,
        "machine": dict(measured.machine),
        "conditions": dict(measured.conditions),
        "models": {name: asdict(config) for name, config in measured.models.items()},
        "points": [asdict(point) for point in measured.points],
        "chunk_tokens": measured.chunk_tokens,
        "row_buckets": list(measured.row_buckets),
        "energy": dict(measured.energy),
        "steps": {name: asdict(fit) for name, fit in profile.steps.items()},
        "training": None if profile.training is None else asdict(profile.training),
        "held_out": [asdict(entry) for entry in profile.held_out],
        "energy_fit": None if profile.energy is None else asdict(profile.energy),
    }


def read_profile(path: Path) -> HardwareProfile:
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; `t2 calibrate --out {path}` makes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ValueError(
            f"{path} must be a whole JSON file, got one that ends early: {error}"
        ) from None
    try:
        return profile_from_dict(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def profile_from_dict(document: Any) -> HardwareProfile:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f'a profile must be an object with "format": "{FORMAT}"')
    if document.get("version") != VERSION:
        raise ValueError(
            f"this t2engine reads profiles of version {VERSION}, got version "
            f"{document.get('version')!r}; calibrate again"
        )
    missing = [key for key in KEYS if key not in document]
    if missing:
        raise ValueError(f"a profile must have {', '.join(KEYS)}; missing: {', '.join(missing)}")
    measured = Measurements(
        machine=expect(document, "machine", dict),
        conditions=expect(document, "conditions", dict),
        models={
            name: build(f"models.{name}", ModelConfig, with_scaling(config))
            for name, config in expect(document, "models", dict).items()
        },
        points=tuple(
            build(f"points[{i}]", Measurement, with_tuple(point, "seconds"))
            for i, point in enumerate(expect(document, "points", list))
        ),
        chunk_tokens=expect(document, "chunk_tokens", int),
        energy=expect(document, "energy", dict),
        row_buckets=buckets_from(expect(document, "row_buckets", list)),
    )
    steps = {
        name: step_fit_from(f"steps.{name}", fit)
        for name, fit in expect(document, "steps", dict).items()
    }
    training = None
    if document["training"] is not None:
        fit = expect(document, "training", dict)
        rates = build("training.rates", TrainingRates, fit.get("rates"))
        widths = build("training.half_widths", HalfWidths, fit.get("half_widths"))
        parts = {"rates": rates, "half_widths": widths}
        training = build("training", TrainingFit, {**with_ranges("training", fit), **parts})
    held_out = tuple(
        build(f"held_out[{i}]", HeldOut, entry)
        for i, entry in enumerate(expect(document, "held_out", list))
    )
    energy = document.get("energy_fit")
    if energy is not None:
        energy = build("energy_fit", EnergyFit, energy)
    return HardwareProfile(measured, steps, training, held_out, energy)


def buckets_from(values: list[Any]) -> tuple[int, ...]:
    whole = all(type(value) is int and value > 0 for value in values)
    if not whole or values != sorted(set(values)):
        raise ValueError(f"row_buckets must be whole numbers in rising order, got {values}")
    return tuple(values)


def step_fit_from(where: str, fit: Any) -> StepFit:
    fields_of = with_ranges(where, fit)
    for name in ("rates", "start"):
        fields_of[name] = build(f"{where}.{name}", StepRates, fields_of.get(name))
    if not isinstance(fields_of.get("half_widths"), dict):
        raise ValueError(f"{where}.half_widths must be an object")
    fields_of["half_widths"] = {
        kind: build(f"{where}.half_widths.{kind}", HalfWidths, widths)
        for kind, widths in fields_of["half_widths"].items()
    }
    return build(where, StepFit, fields_of)


def with_ranges(where: str, fit: Any) -> dict[str, Any]:
    if not isinstance(fit, dict) or not isinstance(fit.get("ranges"), dict):
        raise ValueError(f"{where} must be an object with ranges")
    ranges = {name: tuple(pair) for name, pair in fit["ranges"].items()}
    return {**fit, "ranges": ranges}


def with_scaling(config: Any) -> Any:
    if isinstance(config, dict) and isinstance(config.get("rope_scaling"), dict):
        return {**config, "rope_scaling": RopeScaling(**config["rope_scaling"])}
    return config


def with_tuple(item: Any, key: str) -> Any:
    return {**item, key: tuple(item[key])} if isinstance(item, dict) and key in item else item


def expect(document: Mapping[str, Any], key: str, kind: type[T]) -> T:
    value = document[key]
    if not isinstance(value, kind):
        raise ValueError(f"{key} must be of type {kind.__name__}, got {type(value).__name__}")
    return value


def build(where: str, kind: type[T], values: Any) -> T:
    """A dataclass from an object with exactly its fields."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(values, Mapping) or set(values) != set(names):
        got = sorted(values) if isinstance(values, Mapping) else type(values).__name__
        raise ValueError(f"{where} must have {', '.join(names)}, got {got}")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
