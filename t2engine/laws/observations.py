"""Read observations: how often each checkpoint answered each question.

A CSV file (UTF-8) whose first line names the columns, in any order; other columns are ignored:

    model,N,D,question,num_samples,num_correct,gold_nll

A checkpoint is one (model, N, D). `gold_nll` may be missing or empty: nobody measured it.

Units:  N parameters, embeddings included; D training tokens; gold_nll a natural-log loss summed
        over the gold answer's tokens.
Shapes: columns of `Observations` are [R], one entry a row of the file; checkpoints are [M].
Raises: ValueError naming the file, the line, the column, what was expected and what was there.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from t2engine.laws.gamma import Array
from t2engine.schema import Observation

COLUMNS = ("model", "N", "D", "question", "num_samples", "num_correct")
OPTIONAL_COLUMN = "gold_nll"
LARGEST_COUNT = 2**53  # beyond this a float no longer tells neighbouring integers apart


@dataclass(frozen=True)
class Checkpoint:
    """One trained model: its name, N parameters, D training tokens."""

    model: str
    N: int
    D: int


@dataclass(frozen=True, eq=False)
class Observations:
    """Observations in columns: ten million rows take 32 bytes each, not a Python object."""

    source: str
    checkpoints: tuple[Checkpoint, ...]  # [M]
    questions: tuple[str, ...]
    checkpoint: NDArray[np.int32]  # [R] index into checkpoints
    question: NDArray[np.int32]  # [R] index into questions
    num_samples: NDArray[np.int64]  # [R]
    num_correct: NDArray[np.int64]  # [R]
    gold_nll: Array  # [R], nan where nobody measured it

    def __len__(self) -> int:
        return len(self.num_samples)

    def __iter__(self) -> Iterator[Observation]:
        for row in range(len(self)):
            at, nll = self.checkpoints[self.checkpoint[row]], float(self.gold_nll[row])
            yield Observation(
                model=at.model,
                N=at.N,
                D=at.D,
                question=self.questions[self.question[row]],
                num_samples=int(self.num_samples[row]),
                num_correct=int(self.num_correct[row]),
                gold_nll=None if math.isnan(nll) else nll,
            )


def read_observations(path: str | Path) -> Observations:
    source = str(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            return _read(((reader.line_num, cells) for cells in reader), source)
    except OSError as error:
        raise ValueError(f"{source}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: must be UTF-8 text, byte {error.start} is not") from error
    except csv.Error as error:
        raise ValueError(f"{source}: line {reader.line_num}: not a CSV line: {error}") from error


def read_shipped_observations() -> Observations:
    """Those of the ladder that comes with t2engine, found without importing what trained it."""
    shipped = files("t2engine") / "study" / "data" / "observations.csv"
    if not shipped.is_file():
        raise ValueError(
            "the shipped ladder's observations are missing from this installation "
            f"({shipped}): reinstall t2engine, or name a file of your own"
        )
    with as_file(shipped) as path:
        return read_observations(path)


def from_records(records: Iterable[Observation], source: str = "observations") -> Observations:
    """The same checks for records made in memory; line 2 is the first record."""
    header = [*COLUMNS, OPTIONAL_COLUMN]
    cells = ([getattr(record, name) for name in header] for record in records)
    rows = (["" if cell is None else str(cell) for cell in row] for row in cells)
    return _read(enumerate(chain([header], rows), start=1), source)


@dataclass(frozen=True)
class _Row:
    """One line of the file, able to say what is wrong with a cell."""

    source: str
    line: int
    cells: dict[str, str]

    def wrong(self, column: str, expected: str) -> ValueError:
        where = f"{self.source}: line {self.line}, column {column}"
        return ValueError(f"{where}: expected {expected}, got {self.cells[column]!r}")

    def integer(self, column: str, least: int) -> int:
        expected = f"a whole number from {least} to {LARGEST_COUNT}"
        value = _number(self.cells[column])
        if value is None or value != math.floor(value) or not least <= value <= LARGEST_COUNT:
            raise self.wrong(column, expected)
        return int(value)

    def name(self, column: str) -> str:
        if not self.cells[column].strip():
            raise self.wrong(column, "a name")
        return self.cells[column].strip()

    def gold_nll(self) -> float:
        text = self.cells.get(OPTIONAL_COLUMN, "")
        if not text.strip():
            return math.nan
        value = _number(text)
        if value is None or value < 0:
            raise self.wrong(OPTIONAL_COLUMN, "a finite number >= 0, or nothing")
        return value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _read(rows: Iterator[tuple[int, list[str]]], source: str) -> Observations:
    header = _header(rows, source)
    checkpoints: dict[tuple[str, int, int], int] = {}
    questions: dict[str, int] = {}
    lines, at, asked = array("q"), array("i"), array("i")
    samples, correct, nll = array("q"), array("q"), array("d")
    for line, cells in rows:
        if not cells:
            continue  # a blank line
        if len(cells) != len(header):
            raise ValueError(
                f"{source}: line {line}: expected {len(header)} cells, one per column, "
                f"got {len(cells)}"
            )
        row = _Row(source, line, dict(zip(header, cells, strict=True)))
        key = (row.name("model"), row.integer("N", 1), row.integer("D", 1))
        drawn, right = row.integer("num_samples", 1), row.integer("num_correct", 0)
        if right > drawn:
            raise row.wrong("num_correct", f"at most num_samples = {drawn}")
        lines.append(line)
        at.append(checkpoints.setdefault(key, len(checkpoints)))
        asked.append(questions.setdefault(row.name("question"), len(questions)))
        samples.append(drawn)
        correct.append(right)
        nll.append(row.gold_nll())
    if not lines:
        raise ValueError(f"{source}: expected at least one observation below line 1, got none")
    observations = Observations(
        source=source,
        checkpoints=tuple(Checkpoint(*key) for key in checkpoints),
        questions=tuple(questions),
        checkpoint=np.frombuffer(at, np.int32),
        question=np.frombuffer(asked, np.int32),
        num_samples=np.frombuffer(samples, np.int64),
        num_correct=np.frombuffer(correct, np.int64),
        gold_nll=np.frombuffer(nll, np.float64),
    )
    _refuse_repeats(observations, np.frombuffer(lines, np.int64))
    return observations


def _header(rows: Iterator[tuple[int, list[str]]], source: str) -> list[str]:
    line, cells = next(rows, (1, []))
    header = [cell.strip() for cell in cells]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        got = ",".join(header) or "nothing"
        raise ValueError(
            f"{source}: line {line}: expected the columns {','.join(COLUMNS)}, "
            f"missing {','.join(missing)}, got {got}"
        )
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ValueError(f"{source}: line {line}: column {repeated[0]} expected once, got twice")
    return header


def _refuse_repeats(observations: Observations, lines: NDArray[np.int64]) -> None:
    pairs = observations.checkpoint.astype(np.int64) * len(observations.questions)
    pairs += observations.question
    order = np.argsort(pairs, kind="stable")
    repeats = np.flatnonzero(np.diff(pairs[order]) == 0)
    if repeats.size:
        second = order[repeats + 1]
        row = second[np.argmin(lines[second])]
        model = observations.checkpoints[observations.checkpoint[row]].model
        question = observations.questions[observations.question[row]]
        raise ValueError(
            f"{observations.source}: line {lines[row]}, column question: expected one row for "
            f"each checkpoint and question, got {question!r} of {model!r} again; add the counts up"
        )
