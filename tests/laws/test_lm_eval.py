"""Sample logs of lm-eval, as its documentation lays them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from t2engine.laws.lm_eval import LogChoice
from t2engine.laws.observations import read_observations

MODELS = "model,N,D\nEleutherAI/pythia-70m,70426624,300000000000\ntiny,1000,20000\n"
TIME = "2025-01-31T12-00-00.123456"


def generated(doc_id: int, value: Any, *texts: str, **others: Any) -> dict[str, Any]:
    """One document with one request; several texts are repeats that the filter kept."""
    kept: Any = texts[0] if len(texts) == 1 else list(texts)
    return {
        "doc_id": doc_id,
        "doc": {"question": "?"},
        "target": "18",
        "resps": [list(texts)],
        "filtered_resps": [kept],
        "filter": "none",
        "metrics": ["exact_match"],
        "exact_match": value,
    } | others


def write_log(
    folder: Path, rows: list[dict[str, Any]], model: str = "tiny", task: str = "gsm8k", at: str = ""
) -> Path:
    (folder / "models.csv").write_text(MODELS)
    path = folder / model / f"samples_{task}_{at or TIME}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(folder: Path, **choice: str) -> list[tuple[str, str, int, int]]:
    rows = read_observations(folder, folder / "models.csv", LogChoice(**choice))
    return [(x.model, x.question, x.num_samples, x.num_correct) for x in rows]


def test_repeats_in_files_and_lines_add_up(tmp_path: Path) -> None:
    """Two runs of one task, and another model's whose name has a slash."""
    write_log(tmp_path, [generated(0, 1.0, "18"), generated(1, 0.0, "3")])
    write_log(
        tmp_path, [generated(0, 0.0, "7"), generated(1, 0.0, "3")], at="2025-02-01T12-00-00.5"
    )
    write_log(tmp_path, [generated(0, 1, "18")] * 3, model="EleutherAI__pythia-70m")
    assert read(tmp_path) == [
        ("EleutherAI/pythia-70m", "gsm8k/0", 3, 3),
        ("tiny", "gsm8k/0", 2, 1),
        ("tiny", "gsm8k/1", 2, 0),
    ]


def test_repeats_within_a_line(tmp_path: Path) -> None:
    eight = ["18"] * 2 + ["5"] * 6
    code = {"pass@1": 1.0, "metrics": ["pass@1"], "target": "def f"}
    rows = [
        generated(0, 0.25, *eight),
        generated(1, [1, 0, 1, 0], *eight[:4]),
        generated(2, 0.0, "1", "2", "3"),
        {x: y for x, y in generated(3, 0, "a", "b").items() if x != "exact_match"} | code,
    ]
    write_log(tmp_path, rows)
    assert [row[2:] for row in read(tmp_path)] == [(8, 2), (4, 2), (3, 0), (2, 2)]


def test_log_likelihoods_give_the_gold_nll(tmp_path: Path) -> None:
    """Of the target's choice; values come as text."""
    choices = [["-3.5", "False"], ["-1.25", "True"], ["-9", "False"]]
    rows = [
        generated(0, 0, "") | {"filtered_resps": choices, "target": 1, "acc": 1.0},
        generated(1, 0, "") | {"filtered_resps": choices, "target": "2", "acc": 0.0},
        generated(2, 0, "") | {"filtered_resps": [[-0.5, True]], "target": "dog", "acc": 1},
    ]
    for row in rows:
        del row["exact_match"]
    path = write_log(tmp_path, rows, task="arc_easy")
    found = list(read_observations(path, tmp_path / "models.csv"))
    assert [x.gold_nll for x in found] == [1.25, 9.0, 0.5]
    assert [(x.num_samples, x.num_correct) for x in found] == [(1, 1), (1, 0), (1, 1)]
    assert found[0].question == "arc_easy/0"


def test_filters_and_metrics_are_chosen(tmp_path: Path) -> None:
    strict, loose = ({"filter": x} for x in ("strict-match", "flexible-extract"))
    rows = [generated(0, 0.0, "18.", **strict), generated(0, 1.0, "18", f1=0.0, **loose)]
    write_log(tmp_path, rows)
    assert read(tmp_path, filter="strict-match") == [("tiny", "gsm8k/0", 1, 0)]
    assert read(tmp_path, filter="flexible-extract") == [("tiny", "gsm8k/0", 1, 1)]
    assert read(tmp_path, filter="flexible-extract", metric="f1") == [("tiny", "gsm8k/0", 1, 0)]
    with pytest.raises(ValueError, match="line 2, column filter: expected 'strict-match' through"):
        read(tmp_path)
    with pytest.raises(ValueError, match="at least one document under the filter 'x', got none"):
        read(tmp_path, filter="x")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (generated(0, 0.5, "18"), "column exact_match: expected a share of the 1 responses"),
        (generated(0, 2, "18"), "column exact_match: expected a share"),
        (generated(0, float("nan"), "18"), "column exact_match: expected a share"),
        (generated(0, "yes", "18"), "column exact_match: expected 0, 1, a share"),
        (generated(0, [1, 2], "18"), "column exact_match: expected a list of 0 and 1"),
        (generated(0, 0.3, "1", "2"), "column exact_match: expected a share of the 2 responses"),
        (generated(0, 1.0, "18", "5"), r"is it of the first alone\?"),
        ({"target": 3}, "column doc_id: expected a document's number, got nothing"),
        (generated(0, 1, "18") | {"filtered_resps": []}, "column filtered_resps: expected a list"),
        (generated(0, 1, "18") | {"filtered_resps": ["a", "b"]}, "the responses to one request"),
        ({"doc_id": 0, "metrics": ["bleu"]}, r"one of the metrics .* got \['bleu'\]; choose one"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    write_log(tmp_path, [generated(9, 1, "18"), row])
    with pytest.raises(ValueError, match=rf"\.jsonl: line 2.*{message}"):
        read(tmp_path)


def test_models_must_be_known(tmp_path: Path) -> None:
    path = write_log(tmp_path, [generated(0, 1, "18")], model="stranger")
    with pytest.raises(ValueError, match=r"must be named after .* got 'stranger'"):
        read(tmp_path)
    with pytest.raises(ValueError, match="name a table of model,N,D with --models"):
        read_observations(path)
    table = tmp_path / "obs.csv"
    table.write_text("model,question,correct\ntiny,q,1\n")
    with pytest.raises(ValueError, match="is chosen of lm-eval's logs, this is a table"):
        read_observations(table, tmp_path / "models.csv", LogChoice(metric="acc"))
