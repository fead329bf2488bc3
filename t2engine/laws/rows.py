"""Rows of a table, from CSV or JSON Lines, each able to say which of its cells is wrong.

The extension decides: `.jsonl` holds one JSON object a line, anything else is CSV whose first line
names the columns. Rows are read one at a time.

Raises: ValueError naming the file, the line, the column, what was expected and what was there.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_COUNT = 2**53  # beyond this a float no longer tells neighbouring integers apart
TRUTH = {"1": 1, "0": 0, "true": 1, "false": 0, "1.0": 1, "0.0": 0}


@dataclass
class Row:
    """One line of a table; every cell is text, as CSV has it."""

    source: str
    line: int
    cells: Mapping[str, str]

    def wrong(self, column: str, expected: str) -> ValueError:
        where = f"{self.source}: line {self.line}, column {column}"
        return ValueError(f"{where}: expected {expected}, got {self.cells[column]!r}")

    def integer(self, column: str, least: int) -> int:
        value = _number(self.cells[column])
        if value is None or value != math.floor(value) or not least <= value <= LARGEST_COUNT:
            raise self.wrong(column, f"a whole number from {least} to {LARGEST_COUNT}")
        return int(value)

    def truth(self, column: str) -> int:
        value = TRUTH.get(self.cells[column].strip().lower())
        if value is None:
            raise self.wrong(column, "0, 1, false or true")
        return value

    def name(self, column: str) -> str:
        found = self.cells[column].strip()
        if not found:
            raise self.wrong(column, "a name")
        return found

    def loss(self, column: str) -> float:
        """nan where there is none."""
        text = self.cells.get(column, "")
        if not text.strip():
            return math.nan
        value = _number(text)
        if value is None or value < 0:
            raise self.wrong(column, "a finite number >= 0, or nothing")
        return value


def read_rows(path: Path, required: Iterable[tuple[str, ...]]) -> Iterator[Row]:
    """Rows whose columns hold all of one of the `required` sets; the first is what is asked for."""
    choices = tuple(required)
    if path.suffix == ".jsonl":
        for line, document in read_objects(path):
            cells = {name: _text(value) for name, value in document.items()}
            _expect_columns(str(path), line, tuple(cells), choices)
            yield Row(str(path), line, cells)
        return
    source = str(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = ((reader.line_num, cells) for cells in reader)
            yield from table_rows(lines, source, choices)
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: must be UTF-8 text, byte {error.start} is not") from error
    except csv.Error as error:
        raise ValueError(f"{source}: line {reader.line_num}: not a CSV line: {error}") from error


def table_rows(
    lines: Iterator[tuple[int, list[str]]], source: str, required: tuple[tuple[str, ...], ...]
) -> Iterator[Row]:
    """The first line is the header."""
    first, names = next(lines, (1, []))
    header = tuple(name.strip() for name in names)
    _expect_columns(source, first, header, required)
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ValueError(f"{source}: line {first}: column {repeated[0]} expected once, got twice")
    for line, cells in lines:
        if not cells:
            continue  # a blank line
        if len(cells) != len(header):
            raise ValueError(
                f"{source}: line {line}: expected {len(header)} cells, one per column, "
                f"got {len(cells)}"
            )
        yield Row(source, line, dict(zip(header, cells, strict=True)))


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and JSON objects; blank lines are passed over."""
    line = 0
    try:
        with open(path, encoding="utf-8-sig") as file:
            for line, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                document = json.loads(text)
                if not isinstance(document, dict):
                    kind = type(document).__name__
                    raise ValueError(f"{path}: line {line}: expected a JSON object, got a {kind}")
                yield line, document
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8 text, a byte after line {line} is not") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: line {line}: not a JSON object: {error}") from error


def _expect_columns(
    source: str, line: int, header: tuple[str, ...], required: tuple[tuple[str, ...], ...]
) -> None:
    """A set is taken where all of it is there and nothing that only the first set asks for."""
    for names in required:
        if set(names) <= set(header) and not (set(required[0]) - set(names)) & set(header):
            return
    missing = [name for name in required[0] if name not in header]
    got = ",".join(header) or "nothing"
    raise ValueError(
        f"{source}: line {line}: expected the columns {','.join(required[0])}, "
        f"missing {','.join(missing)}, got {got}"
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _unreadable(path: Path, error: OSError) -> ValueError:
    return ValueError(f"{path}: cannot be read: {error.strerror or error}")
