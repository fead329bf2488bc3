from __future__ import annotations

import io
import json

from rich.console import Console

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.comparison import Comparison, Contender
from t2engine.laws.observations import from_records
from t2engine.laws.selection import Score
from t2engine.reports.fit_table import fit_document, fit_tables
from tests.laws.ladder import records

LAW = Approach1Law(E=0.2, A=40.0, alpha=0.3, B=300.0, beta=0.35, G=1.5, gamma=0.4)
SCORES = (Score("approach1", "compute", 0.125), Score("approach1", "overtraining", None, "few"))
FITTED = Contender("approach1", LAW, "", SCORES, {"alpha": (0.25, 0.375)}, ("left out: m1",))
MISSING = Contender("counts", obstacle="at least 10 checkpoints")


def test_what_was_not_fitted_or_scored_says_why() -> None:
    comparison = Comparison((FITTED, MISSING), FITTED, ("approach1 is the default",))
    observations = from_records(records(num_questions=2))
    console = Console(file=io.StringIO(), width=200)
    console.print(fit_tables(comparison, observations))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for words in (
        "16 checkpoints, 2 questions, 2,048 samples",
        "approach1 (best)",
        "0.125",
        "0.375",
        "counts was not fitted: at least 10 checkpoints",
        "approach1 was not scored with overtraining held out: few",
        "note: left out: m1",
        "note: approach1 is the default",
    ):
        assert words in text
    document = json.loads(json.dumps(fit_document(comparison, observations), allow_nan=False))
    first, second = document["laws"]
    assert first["held_out_errors"] == {"compute": 0.125, "overtraining": None}
    assert first["not_scored"] == {"overtraining": "few"}
    assert first["intervals"] == {"alpha": [0.25, 0.375]}
    assert second == {"law": "counts", "obstacle": "at least 10 checkpoints"}
    assert document["sound"]
