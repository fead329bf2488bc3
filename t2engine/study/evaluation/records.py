"""Observations as a CSV file that `t2 fit` reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path

from t2engine.files import write_text
from t2engine.schema import Observation


def write_observations(path: Path, observations: Iterable[Observation]) -> None:
    """A CSV file with a column per field of `Observation`, replaced whole or left as it was."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Observation))
    writer.writerows(astuple(observation) for observation in observations)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())
