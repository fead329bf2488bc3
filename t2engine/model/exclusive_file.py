"""A file that one process at a time fills, and moves into its place when it is whole.

Its name is fixed, so writers that are killed leave one file at most, which the next one takes over:
the lock went with its process.

Raises: OSError where the file cannot be made, locked or written.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def exclusive_file(path: Path) -> Iterator[IO[bytes]]:
    """The file, empty and ours alone, after waiting for who has it. At the end it is removed,
    unless it has been moved away."""
    while True:
        with os.fdopen(os.open(path, FLAGS, 0o666), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                # While we waited, whoever had it may have moved it away, and perhaps another
                # process has made the next.
                if is_at(path, file):
                    file.truncate(0)
                    yield file
                    return
            finally:
                if is_at(path, file):
                    path.unlink()
                # By hand: a mapping of the file would keep the lock for as long as it lives.
                fcntl.flock(file, fcntl.LOCK_UN)


def is_at(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
