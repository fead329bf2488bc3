"""Counts from the sample logs of EleutherAI's lm-evaluation-harness (`lm_eval --log_samples`).

    <output path>/<model, / as __>/samples_<task>_<time>.jsonl

Each line is one document under one filter: doc_id, target, filtered_resps, filter, and a value
under the name of every metric. A question is task/doc_id. Its samples are

    a list of 0 and 1           one sample each
    0 or 1, one response        one sample
    a share of n responses      n samples, share times n of them right (pass@1 of code tasks)

and add up over lines and files: repeats of a run with other seeds are more samples. A document
whose requests are log-likelihoods gives gold_nll, minus that of the target's choice.

Raises: ValueError naming the file, the line and the key; a log with several filters, or metrics
        none of which is known, until one is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2engine.laws.observed import Checkpoint, Observations
from t2engine.laws.rows import read_objects
from t2engine.laws.tally import Tally

LOG_NAME = re.compile(r"samples_(?P<task>.+?)(_\d{4}-\d{2}-\d{2}T[^_]*)?\.jsonl")
METRICS = ("exact_match", "acc", "pass@1")  # looked for in this order
SHARES = ("pass@1",)  # metrics that are means over responses even where they are 0 or 1
NOT_IN_NAMES = re.compile(r'["<>:/|\\?*\[\]]+')  # what lm-eval writes as __ in a directory's name
WHOLE = 1e-6


@dataclass(frozen=True)
class LogChoice:
    """Which metric and which filter of a log; None takes the only one."""

    metric: str | None = None
    filter: str | None = None


@dataclass
class _Line:
    """One line of a log, able to say what is wrong with a value."""

    source: str
    number: int
    values: Mapping[str, Any]

    def wrong(self, key: str, expected: str) -> ValueError:
        got = f"{self.values[key]!r}" if key in self.values else "nothing"
        return ValueError(
            f"{self.source}: line {self.number}, column {key}: expected {expected}, got {got:.200}"
        )


def find_logs(path: Path) -> list[Path]:
    """The sample logs at a path: itself, or those anywhere below it."""
    if path.is_dir():
        logs = sorted(x for x in path.rglob("samples_*.jsonl") if LOG_NAME.fullmatch(x.name))
        if not logs:
            raise ValueError(f"{path}: cannot be read: a directory without samples_<task>.jsonl")
        return logs
    return [path] if LOG_NAME.fullmatch(path.name) else []


def read_logs(
    source: str, logs: Sequence[Path], models: Mapping[str, Checkpoint], choice: LogChoice
) -> Observations:
    tally = Tally(source)
    directories = {NOT_IN_NAMES.sub("__", name): model for name, model in models.items()}
    for log in logs:
        directory = log.resolve().parent.name
        if directory not in directories:
            raise ValueError(
                f"{log}: its directory must be named after one of the models of --models "
                f"({', '.join(models)}), got {directory!r}"
            )
        found = LOG_NAME.fullmatch(log.name)
        assert found is not None
        _read_log(log, found["task"], tally.checkpoint(directories[directory]), choice, tally)
    return tally.observations()


def _read_log(log: Path, task: str, checkpoint: int, choice: LogChoice, tally: Tally) -> None:
    first_filter: str | None = None
    for number, values in read_objects(log):
        line = _Line(str(log), number, values)
        if "doc_id" not in values:
            raise line.wrong("doc_id", "a document's number")
        under = str(values.get("filter", "none"))
        if choice.filter is not None and under != choice.filter:
            continue
        if first_filter not in (None, under):
            raise line.wrong("filter", f"{first_filter!r} throughout; choose one with --filter")
        first_filter = under
        drawn, right = _counts(line, _metric(line, choice.metric))
        question = f"{task}/{values['doc_id']}"
        tally.add_samples(number, checkpoint, question, drawn, right, _gold_nll(line))
    if first_filter is None:
        sought = "" if choice.filter is None else f" under the filter {choice.filter!r}"
        raise ValueError(f"{log}: expected at least one document{sought}, got none")


def _metric(line: _Line, chosen: str | None) -> str:
    for name in METRICS if chosen is None else (chosen,):
        if name in line.values:
            return name
    if chosen is not None:
        raise line.wrong(chosen, "the metric chosen")
    known = line.values.get("metrics", "no list of metrics")
    raise ValueError(
        f"{line.source}: line {line.number}: expected one of the metrics {', '.join(METRICS)}, "
        f"got {known}; choose one with --metric"
    )


def _counts(line: _Line, metric: str) -> tuple[int, int]:
    """num_samples and num_correct of one line."""
    value = line.values[metric]
    if isinstance(value, list):
        if not value or any(x not in (0, 1) for x in value):
            raise line.wrong(metric, "a list of 0 and 1")
        return len(value), int(sum(value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        if value not in (True, False):
            raise line.wrong(metric, "0, 1, a share of the responses, or a list of 0 and 1")
        value = int(value)
    responses = _responses(line)
    drawn = len(responses)
    right = value * drawn
    if not (0 <= value <= 1 and abs(right - round(right)) <= WHOLE * drawn):
        raise line.wrong(metric, f"a share of the {drawn} responses")
    right = round(right)
    if drawn > 1 and value in (0, 1) and metric not in SHARES:
        target = str(line.values.get("target")).strip()
        if sum(str(x).strip() == target for x in responses) != right:
            raise line.wrong(
                metric, f"a share of the {drawn} responses or a list (is it of the first alone?)"
            )
    return drawn, right


def _responses(line: _Line) -> list[Any]:
    """The generated texts; a single None where the requests were log-likelihoods."""
    requests = line.values.get("filtered_resps")
    if not isinstance(requests, list) or not requests:
        raise line.wrong("filtered_resps", "a list of responses")
    if _log_likelihoods(requests):
        return [None]
    if len(requests) > 1:
        raise line.wrong("filtered_resps", "the responses to one request")
    texts = requests[0]
    return texts if isinstance(texts, list) and texts else [texts]


def _log_likelihoods(requests: Sequence[Any]) -> list[float]:
    """One for each request that gave (log-likelihood, is greedy); empty where any did not."""
    found = []
    for request in requests:
        pair = isinstance(request, list) and len(request) == 2
        if not pair or str(request[1]) not in ("True", "False"):
            return []
        try:
            found.append(float(request[0]))
        except (TypeError, ValueError):
            return []
    return found


def _gold_nll(line: _Line) -> float:
    found = _log_likelihoods(line.values["filtered_resps"])
    if not found:
        return float("nan")
    target = 0 if len(found) == 1 else line.values.get("target")
    if isinstance(target, str) and target.isdigit():
        target = int(target)
    if isinstance(target, bool) or not isinstance(target, int) or target >= len(found):
        return float("nan")
    nll = -found[target]
    if not 0 <= nll < float("inf"):
        raise line.wrong("filtered_resps", "finite log-likelihoods <= 0")
    return nll
