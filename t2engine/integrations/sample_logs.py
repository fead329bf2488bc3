"""What an evaluation leaves behind: results, sample logs, and the counts that laws are fitted to.

    <directory>/<model, / as __>/results_<time>.json
    <directory>/<model, / as __>/samples_<task>_<time>.jsonl

as lm-evaluation-harness names them, and t2engine.laws.lm_eval reads them.

Units: N parameters, embeddings included; D training tokens.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from t2engine.files import write_text
from t2engine.laws.lm_eval import NOT_IN_NAMES, LogChoice, find_logs, read_logs
from t2engine.laws.observed import Checkpoint
from t2engine.schema import Observation

PRINTED = ("results", "groups", "n-shot", "versions", "higher_is_better", "config")


@dataclass(frozen=True)
class EvaluatedModel:
    """D None: nobody knows."""

    name: str
    N: int
    D: int | None


@dataclass(frozen=True)
class ResultFiles:
    """Where a run's files go, all with its name and its time."""

    directory: Path
    model: str
    at: datetime

    @property
    def folder(self) -> Path:
        return self.directory / NOT_IN_NAMES.sub("__", self.model)

    @property
    def time(self) -> str:
        return self.at.isoformat().replace(":", "-")

    def write_results(self, results: Mapping[str, Any]) -> Path:
        path = self.folder / f"results_{self.time}.json"
        return self.write(path, [{k: v for k, v in results.items() if k != "samples"}], indent=2)

    def write_samples(self, samples: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[Path]:
        """samples: of every task, its documents."""
        return [
            self.write(self.folder / f"samples_{task}_{self.time}.jsonl", documents)
            for task, documents in samples.items()
        ]

    def write(self, path: Path, documents: Iterable[Any], indent: int | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(as_json(one, indent) + "\n" for one in documents))
        return path


def as_json(document: Any, indent: int | None = None) -> str:
    return json.dumps(document, indent=indent, default=plain, ensure_ascii=False)


def plain(value: Any) -> Any:
    """numpy's numbers as numbers, sets as lists; what is left as its text."""
    item: Callable[[], Any] | None = getattr(value, "item", None)
    if item is not None and getattr(value, "ndim", None) == 0:
        return item()
    return sorted(value, key=str) if isinstance(value, set | frozenset) else str(value)


def printed(results: Mapping[str, Any]) -> dict[str, Any]:
    """What a person or a program wants to see of the results."""
    return {name: results[name] for name in PRINTED if name in results}


def count_samples(
    logs: Iterable[Path], model: EvaluatedModel, choice: LogChoice
) -> list[Observation]:
    """One observation for each document of these logs.

    Raises: ValueError naming the log and the line that cannot be counted.
    """
    paths = [log for path in logs for log in find_logs(path)]
    checkpoint = Checkpoint(model.name, model.N, model.D or 0)
    return list(read_logs("samples", paths, {model.name: checkpoint}, choice))


def write_observations(path: Path, observations: Iterable[Observation], with_D: bool) -> None:
    """A CSV file for `t2 fit`, which asks for a table of N and D where D is left out."""
    names = [field.name for field in fields(Observation)]
    kept = [i for i, name in enumerate(names) if with_D or name != "D"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names[i] for i in kept)
    for observation in observations:
        values = astuple(observation)
        writer.writerow(values[i] for i in kept)
    write_text(path, text.getvalue())
