"""Files of an evaluation, read back by what fits laws to them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from t2engine.integrations.sample_logs import (
    EvaluatedModel,
    ResultFiles,
    as_json,
    count_samples,
    printed,
    write_observations,
)
from t2engine.laws.lm_eval import LogChoice
from t2engine.laws.observations import read_observations

MODEL = EvaluatedModel("org/tiny", 1000, 20000)
AT = datetime(2026, 1, 2, 3, 4, 5, 6)


def document(doc_id: int, right: int, drawn: int = 8) -> dict[str, object]:
    texts = ["18"] * right + ["5"] * (drawn - right)
    return {
        "doc_id": doc_id,
        "target": "18",
        "resps": [texts],
        "filtered_resps": [texts],
        "filter": "all",
        "exact_match": np.mean(np.array(texts) == "18"),
    }


@pytest.fixture
def files(tmp_path: Path) -> ResultFiles:
    return ResultFiles(tmp_path, MODEL.name, AT)


def test_counts_go_from_samples_to_a_table(files: ResultFiles, tmp_path: Path) -> None:
    rights = [0, 3, 8]
    samples = {task: [document(i, r) for i, r in enumerate(rights)] for task in ("a", "b_c")}
    logs = files.write_samples(samples)
    assert [log.name for log in logs] == [
        f"samples_{task}_2026-01-02T03-04-05.000006.jsonl" for task in samples
    ]
    assert {log.parent.name for log in logs} == {"org__tiny"}
    counted = count_samples(logs, MODEL, LogChoice())
    assert [(x.question, x.num_samples, x.num_correct) for x in counted] == [
        (f"{task}/{i}", 8, r) for task in samples for i, r in enumerate(rights)
    ]
    assert {(x.model, x.N, x.D) for x in counted} == {("org/tiny", 1000, 20000)}
    table = tmp_path / "counts.csv"
    write_observations(table, counted, with_D=True)
    assert list(read_observations(table)) == counted


def test_without_trained_tokens_a_second_table_has_them(files: ResultFiles, tmp_path: Path) -> None:
    model = EvaluatedModel(MODEL.name, MODEL.N, None)
    counted = count_samples(files.write_samples({"a": [document(0, 3)]}), model, LogChoice())
    table, models = tmp_path / "counts.csv", tmp_path / "models.csv"
    write_observations(table, counted, with_D=False)
    with pytest.raises(ValueError, match="missing D"):
        read_observations(table)
    models.write_text("model,N,D\norg/tiny,1000,77\n")
    [row] = read_observations(table, models)
    assert (row.N, row.D, row.num_correct) == (1000, 77, 3)


def test_what_cannot_be_counted_is_named(files: ResultFiles) -> None:
    perplexity = {**document(0, 3), "word_perplexity": 3.0}
    del perplexity["exact_match"]
    logs = files.write_samples({"a": [perplexity]})
    with pytest.raises(ValueError, match="line 1: expected one of the metrics exact_match"):
        count_samples(logs, MODEL, LogChoice())


def test_results_are_plain_json(files: ResultFiles) -> None:
    results = {
        "results": {"a": {"acc": np.float64(0.5), "n": np.int64(3), "ok": np.bool_(True)}},
        "config": {"dtype": np.dtype("int8"), "names": {"b", "a"}},
        "samples": {"a": []},
    }
    [path] = [files.write_results(results)]
    assert path.name == "results_2026-01-02T03-04-05.000006.json"
    read = json.loads(path.read_text())
    assert read == {
        "results": {"a": {"acc": 0.5, "n": 3, "ok": True}},
        "config": {"dtype": "int8", "names": ["a", "b"]},
    }
    assert json.loads(as_json(printed(results))) == read
