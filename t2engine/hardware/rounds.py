"""Time many tasks in turns, round after round, and keep every figure at once.

In each round all tasks come in a new order, so that a drift of the machine, or a burst of somebody
else's work, meets all alike. A task whose visits take long is visited less often. Every visit is a
line of a journal beside the result: what was measured is kept when the work is cut off, and the
next run of the same command goes on from there. A round during which other programs used the
machine does not count and is made again.

    {"header": {...}}
    {"round": 0, "task": "...", "seconds": 1e-3}
    {"end": 0, "elapsed": 9.1, "load": {"others": 0.02, "steal": 0.0, "cores": 2}}

Units:  seconds.
Raises: ValueError when a journal is of another measurement.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from t2engine.hardware.load import Load, find_load_meter, is_busy

ALLOWANCE_SECONDS = 0.05  # of visits that a task may have in each round on average
EVERY_ROUND = 3  # a task is visited in every third round whatever it takes


@dataclass(frozen=True)
class Task:
    """Something that can be timed again and again. key is unique; visit gives seconds."""

    key: str
    visit: Callable[[], float]


@dataclass(frozen=True)
class Limits:
    seconds: float  # after which no round begins that will not end
    fewest_rounds: int  # all the same
    most_rounds: int


@dataclass
class Journal:
    """What has been measured: the rounds of every task, and the load that ended each round."""

    header: Mapping[str, Any]
    seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    loads: dict[int, Load | None] = field(default_factory=dict)
    elapsed: float = 0.0

    def is_quiet(self, number: int) -> bool:
        load = self.loads.get(number)
        return load is None or not is_busy(load)

    @property
    def quiet_rounds(self) -> int:
        return sum(map(self.is_quiet, self.loads))

    def of_task(self, key: str) -> tuple[float, ...]:
        """By round; those of busy rounds left out, unless there are no others."""
        found = self.seconds.get(key, {})
        quiet = {number: value for number, value in found.items() if self.is_quiet(number)}
        return tuple(value for _, value in sorted((quiet or found).items()))

    def read(self, line: Mapping[str, Any]) -> None:
        if "task" in line:
            self.seconds.setdefault(line["task"], {})[line["round"]] = line["seconds"]
        elif "end" in line:
            load = line["load"]
            self.loads[line["end"]] = None if load is None else Load(**load)
            self.elapsed = line["elapsed"]


Progress = Callable[[float, str], None]  # the share done, and what is going on


def run_rounds(
    tasks: Sequence[Task], path: Path, header: Mapping[str, Any], limits: Limits, tell: Progress
) -> Journal:
    """Visit the tasks until the limits say so; `path` is the journal's, read if it is there."""
    journal = open_journal(path, header)
    earlier, began = journal.elapsed, time.perf_counter()
    number = max((r for rounds in journal.seconds.values() for r in rounds), default=0)
    number += number in journal.loads
    longest = 0.0
    with path.open("a", encoding="utf-8") as file:
        while True:
            started = time.perf_counter()
            elapsed = earlier + started - began
            quiet = journal.quiet_rounds
            enough = quiet >= limits.fewest_rounds and elapsed + longest > limits.seconds
            if enough or number >= limits.most_rounds:
                return journal
            meter, _ = find_load_meter()
            if meter is not None:
                meter.start()
            run_round(tasks, journal, number, file, limits, earlier - began, tell)
            load = None if meter is None else meter.stop()
            longest = max(longest, time.perf_counter() - started)
            elapsed = earlier + time.perf_counter() - began
            end = {
                "end": number,
                "elapsed": elapsed,
                "load": None if load is None else load_fields(load),
            }
            write_line(file, end)
            journal.read(end)
            number += 1


def run_round(
    tasks: Sequence[Task],
    journal: Journal,
    number: int,
    file: TextIO,
    limits: Limits,
    offset: float,
    tell: Progress,
) -> None:
    order = list(tasks)
    random.Random(number).shuffle(order)
    for task in order:
        seen = journal.seconds.get(task.key, {})
        if number in seen or not is_due(seen, number):
            continue
        line = {"round": number, "task": task.key, "seconds": task.visit()}
        write_line(file, line)
        journal.read(line)
        by_time = (time.perf_counter() + offset) / max(limits.seconds, 1e-9)
        by_rounds = number / limits.most_rounds
        tell(min(max(by_time, by_rounds), 1.0), f"round {number + 1}: {task.key}")


def is_due(seen: Mapping[int, float], number: int) -> bool:
    within = sum(seen.values()) <= ALLOWANCE_SECONDS * number
    return within or number >= EVERY_ROUND * len(seen)


def open_journal(path: Path, header: Mapping[str, Any]) -> Journal:
    journal = Journal(json.loads(json.dumps(header)))
    if not path.exists():
        with path.open("w", encoding="utf-8") as file:
            write_line(file, {"header": header})
        return journal
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = [line for line in map(parse_line, lines) if line is not None]
    if not found or found[0].get("header") != journal.header:
        raise ValueError(
            f"{path} holds measurements of another machine, version or command; remove it to begin "
            "anew, or choose another output"
        )
    for line in found[1:]:
        journal.read(line)
    if not text.endswith("\n"):  # cut off: what comes next begins a line of its own
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    return journal


def load_fields(load: Load) -> dict[str, float | int]:
    return {"others": load.others, "steal": load.steal, "cores": load.cores}


def parse_line(text: str) -> dict[str, Any] | None:
    """None for a line that was cut off."""
    try:
        line = json.loads(text)
    except json.JSONDecodeError:
        return None
    return line if isinstance(line, dict) else None


def write_line(file: TextIO, line: Mapping[str, Any]) -> None:
    file.write(json.dumps(line) + "\n")
    file.flush()
