"""A journal of counts: what has been drawn is on disk, and a run that was killed goes on from it.

    {"format": 1, "settings": {"model": ..., "weights": ..., "task": ..., "seed": ..., ...}}
    {"question": 0, "asked": "9f86...", "num_samples": 16, "num_correct": 3, "gold_nll": 2.5}
    {"question": 1, ...

The first line says what was asked of whom. Each further line is where one question stands; its last
line counts. Lines are written some at a time and synced. A last line that was torn by a kill or a
full disk is dropped. One process at a time has a journal: the lock goes with the process.

Raises: JournalError naming the file and how to mend it, for other settings or other questions, for
        a damaged line, for a second process, and for a disk that does not take what is written.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

FORMAT = 1
FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
MOST_SHOWN = 60  # characters of a setting in a message


class JournalError(ValueError):
    """What ends the whole evaluation, where a ValueError ends that of one checkpoint."""


@dataclass(frozen=True)
class Entry:
    """Where a question stands; `asked` is a digest of the question itself."""

    question: int
    asked: str
    num_samples: int
    num_correct: int
    gold_nll: float | None


class Journal:
    """The entries of one checkpoint and task, by question; open it with `with`."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))  # tuples as lists
        self.entries: dict[int, Entry] = {}

    def __enter__(self) -> Journal:
        with kept_on_failure(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self.path, FLAGS, 0o644)
        try:
            self.lock()
            self.read()
        except BaseException:
            os.close(self.descriptor)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self.descriptor)

    def lock(self) -> None:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalError(
                f"{self.path} is being written by another process; wait for it or stop it"
            ) from error

    def read(self) -> None:
        """Take the entries there are, and cut off a torn last line."""
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            lines = file.read().splitlines(keepends=True)
        documents = [read_line(line) for line in lines]
        if documents and documents[-1] is None:
            documents.pop()
        whole = sum(map(len, lines[: len(documents)]))
        with kept_on_failure(self.path):
            os.ftruncate(self.descriptor, whole)
            os.lseek(self.descriptor, whole, os.SEEK_SET)
        if not documents:
            self.write([{"format": FORMAT, "settings": self.settings}])
            return
        self.expect_settings(documents[0])
        for number, document in enumerate(documents[1:], start=2):
            entry = as_entry(document)
            if entry is None:
                raise JournalError(
                    f"{self.path}: line {number} must be the counts of a question; remove the file "
                    "to draw its samples anew"
                )
            self.entries[entry.question] = entry

    def expect_settings(self, header: dict[str, Any] | None) -> None:
        found = None if header is None else header.get("settings")
        if header is None or header.get("format") != FORMAT or not isinstance(found, dict):
            raise JournalError(
                f"{self.path} must be a journal of counts; remove it or name another --out"
            )
        for name in [*self.settings, *found]:
            wanted, got = self.settings.get(name), found.get(name)
            if wanted != got:
                raise JournalError(
                    f"{self.path} holds samples of another {name}: {show(got)}, "
                    f"asked for now: {show(wanted)}; "
                    "ask as before, name another --out, or remove the file to draw them anew"
                )

    def append(self, entries: Sequence[Entry]) -> None:
        """On disk when this returns."""
        if entries:
            self.write([asdict(entry) for entry in entries])
            self.entries |= {entry.question: entry for entry in entries}

    def write(self, documents: Sequence[dict[str, Any]]) -> None:
        left = "".join(json.dumps(document) + "\n" for document in documents).encode()
        with kept_on_failure(self.path):
            while left:
                left = left[os.write(self.descriptor, left) :]
            os.fsync(self.descriptor)


@contextmanager
def kept_on_failure(path: Path) -> Iterator[None]:
    """A disk that does not take what is written, in one line."""
    try:
        yield
    except OSError as error:
        raise JournalError(
            f"{path} cannot be written: {error.strerror or error}; all that was counted before is "
            "kept: mend this and run the same command again"
        ) from error


def read_line(line: bytes) -> dict[str, Any] | None:
    """None for a line that is torn or damaged."""
    if not line.endswith(b"\n"):
        return None
    try:
        document = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return document if isinstance(document, dict) else None


def as_entry(document: dict[str, Any] | None) -> Entry | None:
    if document is None or set(document) != {field.name for field in fields(Entry)}:
        return None
    entry = Entry(**document)
    counts = (entry.question, entry.num_samples, entry.num_correct)
    if not all(isinstance(count, int) for count in counts):
        return None
    is_possible = entry.question >= 0 and 0 <= entry.num_correct <= entry.num_samples
    return entry if is_possible else None


def show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."
