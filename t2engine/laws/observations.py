"""Read observations from files: tables of counts or of samples, and logs of lm-eval.

A table is CSV, or JSON Lines where the name ends with .jsonl; columns in any order, others ignored:

    model,N,D,question,num_samples,num_correct,gold_nll     one row a checkpoint and question
    model,N,D,question,correct,gold_nll                     one row a sample; correct is 0 or 1

A checkpoint is one (model, N, D). `gold_nll` may be missing or empty: nobody measured it. N and D
may be left out where a second table names them for every model:

    model,N,D                                               --models

A directory is searched for lm-eval's sample logs, samples_<task>_<time>.jsonl (laws/lm_eval.py).

Units:  N parameters, embeddings included; D training tokens; gold_nll a natural-log loss summed
        over the gold answer's tokens.
Raises: ValueError naming the file, the line, the column, what was expected and what was there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import as_file, files
from itertools import chain
from pathlib import Path

from t2engine.laws.lm_eval import LogChoice, find_logs, read_logs
from t2engine.laws.observed import Checkpoint, Observations
from t2engine.laws.rows import Row, read_rows, table_rows
from t2engine.laws.tally import Tally
from t2engine.schema import Observation

SIZES = ("N", "D")
COUNTS = ("num_samples", "num_correct")
GOLD = "gold_nll"
WHATEVER = LogChoice()


def read_observations(
    path: str | Path, models: str | Path | None = None, choice: LogChoice = WHATEVER
) -> Observations:
    """`models` names the table of N and D; `choice` what to read of an lm-eval log."""
    path = Path(path)
    known = None if models is None else read_models(models)
    logs = find_logs(path)
    if logs:
        if known is None:
            raise ValueError(
                f"{path}: lm-eval's logs do not say what N and D are; name a table of model,N,D "
                "with --models"
            )
        return read_logs(str(path), logs, known, choice)
    if choice != WHATEVER:
        raise ValueError(f"{path}: a metric or filter is chosen of lm-eval's logs, this is a table")
    return _tally(read_rows(path, _columns(known is None)), str(path), known)


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


def read_models(path: str | Path) -> dict[str, Checkpoint]:
    """What N and D are of every model, by name."""
    found: dict[str, Checkpoint] = {}
    for row in read_rows(Path(path), [("model", *SIZES)]):
        model = Checkpoint(row.name("model"), row.integer("N", 1), row.integer("D", 1))
        if model.model in found:
            raise row.wrong("model", "every model once")
        found[model.model] = model
    if not found:
        raise ValueError(f"{path}: expected at least one model below line 1, got none")
    return found


def from_records(records: Iterable[Observation], source: str = "observations") -> Observations:
    """The same checks for records made in memory; line 2 is the first record."""
    header = ["model", *SIZES, "question", *COUNTS, GOLD]
    cells = ([getattr(record, name) for name in header] for record in records)
    rows = (["" if cell is None else str(cell) for cell in row] for row in cells)
    lines = enumerate(chain([header], rows), start=1)
    return _tally(table_rows(lines, source, _columns(True)), source, None)


def _columns(with_sizes: bool) -> tuple[tuple[str, ...], ...]:
    """Sets of columns of which a table needs one."""
    sizes = SIZES if with_sizes else ()
    counts = ("model", *sizes, "question", *COUNTS)
    return counts, ("model", *sizes, "question", "correct")


def _tally(rows: Iterator[Row], source: str, known: dict[str, Checkpoint] | None) -> Observations:
    tally = Tally(source)
    places: dict[tuple[str, ...], int] = {}  # of a checkpoint, by its cells as they are written
    columns = ("model", *SIZES) if known is None else ("model",)
    for row in rows:
        cells = row.cells
        key = tuple([cells[name] for name in columns])
        place = places.get(key)
        if place is None:
            places[key] = place = tally.checkpoint(_checkpoint(row, known))
        nll = row.loss(GOLD) if GOLD in cells else float("nan")
        question = row.name("question")
        if COUNTS[0] not in cells:
            tally.add_samples(row.line, place, question, 1, row.truth("correct"), nll)
            continue
        drawn, right = row.integer(COUNTS[0], 1), row.integer(COUNTS[1], 0)
        if right > drawn:
            raise row.wrong(COUNTS[1], f"at most num_samples = {drawn}")
        tally.add_counts(row.line, place, question, drawn, right, nll)
    return tally.observations()


def _checkpoint(row: Row, known: dict[str, Checkpoint] | None) -> Checkpoint:
    model = row.name("model")
    if known is None:
        return Checkpoint(model, row.integer("N", 1), row.integer("D", 1))
    if model not in known:
        raise row.wrong("model", f"one of the models of --models ({', '.join(known)})")
    return known[model]
