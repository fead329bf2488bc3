"""Observations as a CSV file that `t2 fit` reads."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path

from t2engine.schema import Observation


def write_observations(path: Path, observations: Iterable[Observation]) -> None:
    """A CSV file with a column per field of `Observation`, replaced whole or left as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(field.name for field in fields(Observation))
            writer.writerows(astuple(observation) for observation in observations)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
