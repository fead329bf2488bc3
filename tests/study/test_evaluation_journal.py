from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from t2engine.study.evaluation.journal import Entry, Journal, JournalError

ROOT = Path(__file__).parents[2]
SETTINGS = {"model": "m", "weights": "ab", "samples": {"first": 4, "most": 8}, "stop": ("\n",)}
ENTRIES = [Entry(i, f"{i:x}", 4 + i, i, 0.1 * i) for i in range(5)]


def write(path: Path, entries: list[Entry], settings: dict = SETTINGS) -> dict[int, Entry]:
    with Journal(path, settings) as journal:
        journal.append(entries)
        return dict(journal.entries)


def test_what_was_appended_is_read_again_and_the_last_line_of_a_question_counts(tmp_path: Path):
    path = tmp_path / "new" / "m.jsonl"
    write(path, ENTRIES[:2])
    later = Entry(0, "0", 8, 3, 0.0)
    assert write(path, [later]) == {0: later, 1: ENTRIES[1]}
    assert write(path, []) == {0: later, 1: ENTRIES[1]}


def test_a_journal_cut_anywhere_keeps_every_whole_line(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    write(path, ENTRIES)
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        kept = max(0, whole[header:length].count(b"\n"))
        assert list(write(path, []).values()) == ENTRIES[:kept]
        assert path.read_bytes() == whole[: max(header, whole[:length].rfind(b"\n") + 1)]
        write(path, ENTRIES[kept:])
        assert path.read_bytes() == whole


def test_a_last_line_of_zeros_is_dropped(tmp_path: Path):
    """What a machine that lost power may leave."""
    path = tmp_path / "m.jsonl"
    write(path, ENTRIES)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(100))
    assert write(path, []) == dict(enumerate(ENTRIES))
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"model": "other"}, "another model"),
        ({"samples": {"first": 4, "most": 16}}, "another samples"),
        ({"stop": ()}, "another stop"),
        ({"extra": 1}, "another extra"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, change: dict, name: str):
    path = tmp_path / "m.jsonl"
    write(path, ENTRIES)
    before = path.read_bytes()
    with pytest.raises(JournalError, match=rf"{path}.*{name}.*remove the file"):
        write(path, [], {**SETTINGS, **change})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (0, "must be a journal of counts"),
        (2, "line 3 must be the counts of a question"),
    ],
)
@pytest.mark.parametrize("damage", [b"{}\n", b"not json\n", b"[1]\n", b'{"question": "x"}\n'])
def test_a_damaged_line_is_named(tmp_path: Path, line: int, words: str, damage: bytes):
    path = tmp_path / "m.jsonl"
    write(path, ENTRIES)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = damage
    path.write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match=words):
        write(path, [])


@pytest.mark.parametrize(
    "values", [(0, "", 4, 5, None), (0, "", -1, -1, None), (-1, "", 4, 0, None), (0, "", 4.5, 1, 0)]
)
def test_impossible_counts_are_refused(tmp_path: Path, values: tuple):
    path = tmp_path / "m.jsonl"
    write(path, [Entry(*values), ENTRIES[1]])
    with pytest.raises(JournalError, match="line 2"):
        write(path, [])


def test_one_process_at_a_time(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    with Journal(path, SETTINGS), pytest.raises(JournalError, match="by another process"):
        write(path, ENTRIES)
    write(path, ENTRIES)


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path):
    """A limit on the size of files stands for the end of a disk: it too takes part of a write."""
    path = tmp_path / "m.jsonl"
    write(path, ENTRIES[:3])
    room = path.stat().st_size + 10
    code = (
        "import resource\nfrom tests.study.test_evaluation_journal import *\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        f"try: write(Path({str(path)!r}), ENTRIES[3:])\n"
        "except JournalError as error: sys.exit(str(error))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{path} cannot be written: File too large" in done.stderr
    assert path.stat().st_size == room
    assert write(path, []) == dict(enumerate(ENTRIES[:3]))


def test_a_device_without_room_is_named(tmp_path: Path):
    with Journal(tmp_path / "m.jsonl", SETTINGS) as journal:
        real = journal.descriptor
        journal.descriptor = os.open("/dev/full", os.O_WRONLY)
        with pytest.raises(JournalError, match=r"No space left on device.*same command again"):
            journal.append(ENTRIES)
        os.close(journal.descriptor)
        journal.descriptor = real
        assert journal.entries == {}
