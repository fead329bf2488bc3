"""Tables of samples, JSON Lines, N and D in a second table, and tables longer than memory."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from t2engine.laws.observations import read_models, read_observations
from tests.laws.ladder import records, write_csv


def write_samples(path: Path, num_questions: int, seed: int = 0) -> Path:
    """The same counts as `records`, one row a sample, in a random order."""
    lines = []
    for row in records(num_questions):
        for at in range(row.num_samples):
            right = at < row.num_correct
            lines.append(f"{row.model},{row.N},{row.D},{row.question},{right},{row.gold_nll!r}\n")
    order = np.random.default_rng(seed).permutation(len(lines))
    header = "model,N,D,question,correct,gold_nll\n"
    path.write_text(header + "".join(lines[i] for i in order))
    return path


def test_samples_add_up_to_counts(tmp_path: Path) -> None:
    found = list(read_observations(write_samples(tmp_path / "samples.csv", 5)))
    assert sorted(found, key=repr) == sorted(records(5), key=repr)


def test_json_lines_say_the_same_as_csv(tmp_path: Path) -> None:
    rows = records(5)
    path = tmp_path / "obs.jsonl"
    path.write_text("\n\n".join(json.dumps(asdict(row)) for row in rows) + "\n")
    assert list(read_observations(path)) == rows
    samples = [
        {"model": "m", "N": 1000, "D": 2e4, "question": 7, "correct": right}
        for right in (True, 0, 1, False, "true", 1.0)
    ]
    path.write_text("\n".join(map(json.dumps, samples)))
    (row,) = read_observations(path)
    assert (row.question, row.num_samples, row.num_correct, row.D) == ("7", 6, 4, 20000)
    assert row.gold_nll is None


def test_n_and_d_may_come_from_a_second_table(tmp_path: Path) -> None:
    rows = records(4)
    whole = read_observations(write_csv(tmp_path / "obs.csv", rows))
    sizes = {row.model: f"{row.model},{row.N},{row.D}" for row in rows}
    models = tmp_path / "models.csv"
    models.write_text("model,N,D\n" + "\n".join(sizes.values()))
    short = tmp_path / "short.csv"
    lines = [f"{r.model},{r.question},{r.num_samples},{r.num_correct},{r.gold_nll}" for r in rows]
    short.write_text("model,question,num_samples,num_correct,gold_nll\n" + "\n".join(lines))
    assert list(read_observations(short, models)) == list(whole)
    with pytest.raises(ValueError, match=r"short\.csv: line 1: .* missing N,D"):
        read_observations(short)
    models.write_text("model,N,D\nother,1,1\n")
    with pytest.raises(ValueError, match=r"line 2, column model: .* --models \(other\), got 'm5"):
        read_observations(short, models)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,N,D\nm,0,5\n", "line 2, column N: expected a whole number from 1 .* got '0'"),
        ("model,N,D\nm,5,nan\n", "line 2, column D: .* got 'nan'"),
        ("model,N,D\nm,5,5\nm,6,6\n", "line 3, column model: expected every model once, got 'm'"),
        ("model,N\nm,5\n", "line 1: .* missing D"),
        ("model,N,D\n", "expected at least one model"),
    ],
)
def test_a_bad_table_of_models_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "models.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"models\.csv: {message}"):
        read_models(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "m,5,5,q,2,\n", "line 2, column correct: expected 0, 1, false or true, got '2'"),
        ("a.csv", "m,5,5,q,,\n", "line 2, column correct: .* got ''"),
        ("a.csv", "m,-5,5,q,1,\n", "line 2, column N: .* got '-5'"),
        ("a.csv", "m,5,5,q,1,2.5\nm,5,5,q,1,2.6\n", "line 3, column gold_nll: expected 2.5 as in"),
        ("b.jsonl", '{"model": "m"}\n', "line 1: expected the columns .* missing N,D,question"),
        ("b.jsonl", "[1]\n", "line 1: expected a JSON object, got a list"),
        ("b.jsonl", "\n{\n", "line 2: not a JSON object"),
        ("b.jsonl", '{"model":"m","N":NaN,"D":5,"question":"q","correct":1}', "column N: .*NaN"),
        ("b.jsonl", '{"model":"m","N":5,"D":5,"question":"q","correct":0.5}', "got '0.5'"),
        ("b.jsonl", '{"model":"m","N":5,"D":null,"question":"q","correct":1}', "column D: .*''"),
    ],
)
def test_a_bad_sample_is_named_with_its_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    header = "model,N,D,question,correct,gold_nll\n" if name == "a.csv" else ""
    (tmp_path / name).write_text(header + text)
    with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
        read_observations(tmp_path / name)


def test_memory_does_not_grow_with_samples(tmp_path: Path) -> None:
    """2e5 samples of 160 questions of checkpoints: 11 MB of text, under 1 MB while it is read."""
    path = tmp_path / "samples.csv"
    one = write_samples(tmp_path / "one.csv", 10).read_text().split("\n", 1)
    path.write_text(one[0] + "\n" + one[1] * 20)
    tracemalloc.start()
    found = read_observations(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert int(found.num_samples.sum()) == 16 * 10 * 64 * 20 == 204_800
    assert len(found) == 160
    assert peak < 1e6 < path.stat().st_size / 10
