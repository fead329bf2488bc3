"""A JSON object of a model directory, whose values are checked as they are taken.

Raises: ValueError naming the file, the field, what it must be and what it was.
"""

from __future__ import annotations

import json
import math
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_SHOWN = 80  # characters of a bad value worth showing
MAX_INTEGER = 2**31 - 1  # of a size; a larger one is damage, not a model


@dataclass(frozen=True)
class Fields:
    """The values and the file they come from. A null value counts as an absent one."""

    source: str
    values: dict[str, Any]

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def fail(self, name: str, expected: str) -> ValueError:
        got = show(self.values[name]) if name in self.values else "nothing"
        return ValueError(f"{self.source}: {name} must be {expected}, got {got}")

    def integer(self, name: str, default: int | None = None, minimum: int = 1) -> int:
        value: Any = self.values.get(name)
        if value is None and default is not None:
            return default
        whole = isinstance(value, int) and not isinstance(value, bool)
        if whole and minimum <= value <= MAX_INTEGER:
            return int(value)
        raise self.fail(name, f"an integer from {minimum} to {MAX_INTEGER}")

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number > 0."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        number = as_float(value)
        if number is None or number <= 0:
            raise self.fail(name, "a finite number > 0")
        return number

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.fail(name, "true or false")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self.fail(name, "a string")
        return value

    def choice(self, name: str, choices: dict[str, str], default: str | None = None) -> str:
        """The meaning, in `choices`, of the word the file uses."""
        value = self.values.get(name)
        if value is None and default is not None:
            value = default
        if not isinstance(value, str) or value not in choices:
            raise self.fail(name, f"one of {', '.join(choices)}")
        return choices[value]

    def table(self, name: str) -> Fields:
        """A nested object; an absent one is empty."""
        value = self.values.get(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.fail(name, "an object")
        return Fields(f"{self.source}: {name}", value)


def read_fields(path: Path) -> Fields:
    """Read a file that must hold one JSON object."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: must be a readable file, got {error.strerror}") from error
    return Fields(str(path), parse_object(text, str(path)))


def parse_object(text: bytes, source: str) -> dict[str, Any]:
    try:
        values = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or absurdly nested
        raise ValueError(f"{source}: must be a JSON object, got invalid JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{source}: must be a JSON object, got {show(values)}")
    return values


def as_float(value: Any) -> float | None:
    """A JSON number that a float can hold; None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the range of float
        return None
    return number if math.isfinite(number) else None


def show(value: Any) -> str:
    """A value on one short line, as JSON writes it; of a container the outer levels."""
    short = reprlib.Repr()
    short.maxstring = MAX_SHOWN
    shown = short.repr(value) if isinstance(value, dict | list) else json.dumps(value)
    return shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + "..."
