from __future__ import annotations

from pathlib import Path

import pytest

from t2engine.laws.observations import (
    Checkpoint,
    from_records,
    read_observations,
    read_shipped_observations,
)
from tests.laws.ladder import records, write_csv

HEADER = "model,N,D,question,num_samples,num_correct,gold_nll\n"
GOOD = "m,1000,20000,q1,8,3,1.5\n"


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "obs.csv"
    path.write_text(text, encoding="utf-8")
    return read_observations(path)


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = records(num_questions=5)
    found = read_observations(write_csv(tmp_path / "obs.csv", rows))
    assert list(found) == rows
    assert list(from_records(rows)) == rows
    assert len(found.checkpoints) == 16
    assert found.checkpoints[0] == Checkpoint("m50000-500000", 50_000, 500_000)


def test_gold_nll_may_be_absent_or_empty(tmp_path: Path) -> None:
    found = list(read_observations(write_csv(tmp_path / "a.csv", records(3, gold=False))))
    assert {row.gold_nll for row in found} == {None}
    (tmp_path / "b.csv").write_text(
        "question,num_correct,num_samples,D,N,model,step\nq,3,8,2e4,1e3,m,7\n"
    )
    (row,) = read_observations(tmp_path / "b.csv")
    assert (row.N, row.D, row.num_samples, row.num_correct) == (1000, 20000, 8, 3)
    assert row.gold_nll is None


def test_byte_order_mark_quotes_and_blank_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "obs.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + '"m,1",1000,20000,"q ""1""",8,3,\n\n').encode())
    (row,) = read_observations(path)
    assert (row.model, row.question) == ("m,1", 'q "1"')


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        ("m,x,20000,q2,8,3,1", "N", "a whole number from 1 to 9007199254740992, got 'x'"),
        ("m,0,20000,q2,8,3,1", "N", "a whole number from 1 .* got '0'"),
        ("m,-5,20000,q2,8,3,1", "N", "got '-5'"),
        ("m,1.5,20000,q2,8,3,1", "N", "got '1.5'"),
        ("m,1000,nan,q2,8,3,1", "D", "got 'nan'"),
        ("m,1000,1e300,q2,8,3,1", "D", "got '1e300'"),
        ("m,1000,0,q2,8,3,1", "D", "got '0'"),
        ("m,1000,20000,q2,0,0,1", "num_samples", "a whole number from 1 .* got '0'"),
        ("m,1000,20000,q2,8,9,1", "num_correct", "at most num_samples = 8, got '9'"),
        ("m,1000,20000,q2,8,-1,1", "num_correct", "a whole number from 0 .* got '-1'"),
        ("m,1000,20000,q2,8,,1", "num_correct", "got ''"),
        ("m,1000,20000,q2,8,3,-1", "gold_nll", "a finite number >= 0, or nothing, got '-1'"),
        ("m,1000,20000,q2,8,3,inf", "gold_nll", "got 'inf'"),
        (",1000,20000,q2,8,3,1", "model", "a name, got ''"),
        ("m,1000,20000, ,8,3,1", "question", "a name, got ' '"),
        ("m,1000,20000,q1,8,3,1", "question", "got 'q1' of 'm' again"),
    ],
)
def test_a_bad_cell_is_named_with_its_line(
    tmp_path: Path, row: str, column: str, expected: str
) -> None:
    with pytest.raises(ValueError, match=rf"obs\.csv: line 3, column {column}: .*{expected}"):
        read(tmp_path, HEADER + GOOD + row + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns .* missing model,N,D,.* got nothing"),
        ("a,b\n", "missing model,N,D,question,num_samples,num_correct, got a,b"),
        (HEADER.replace("num_correct", "correct"), "missing num_correct"),
        (HEADER, "expected at least one observation below line 1, got none"),
        (HEADER + "m,1000,20000\n", "line 2: expected 7 cells, one per column, got 3"),
        (HEADER.replace("gold_nll", "N") + GOOD, "line 1: column N expected once, got twice"),
        (HEADER + 'm,1000,20000,"q\n', "line 2: not a CSV line"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"obs\.csv: .*{message}"):
        read(tmp_path, text)


def test_unreadable_paths_and_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.csv: cannot be read: No such file"):
        read_observations(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match="cannot be read: a directory without samples_<task>"):
        read_observations(tmp_path)
    path = tmp_path / "obs.csv"
    path.write_bytes(HEADER.encode() + b"\xff\xfe")
    with pytest.raises(ValueError, match="must be UTF-8 text"):
        read_observations(path)


def test_the_shipped_ladder_is_found_without_torch() -> None:
    found = read_shipped_observations()
    assert len(found.checkpoints) >= 16
    assert len(found.questions) >= 200
    assert len({c.N for c in found.checkpoints}) >= 4
