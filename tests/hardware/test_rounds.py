from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2engine.hardware import rounds
from t2engine.hardware.load import Load
from t2engine.hardware.rounds import EVERY_ROUND, Limits, Task, is_due, run_rounds

HEADER = {"machine": "this", "settings": {"quick": True}}
LIMITS = Limits(seconds=0.0, fewest_rounds=4, most_rounds=9)
QUIET = Load(others=0.0, steal=0.0, cores=2)
BUSY = Load(others=1.5, steal=0.0, cores=2)


class Meter:
    """Says of each round what it is told to."""

    def __init__(self, loads: Iterator[Load]) -> None:
        self.loads = loads

    def start(self) -> None: ...

    def stop(self) -> Load:
        return next(self.loads)


@pytest.fixture
def loads(monkeypatch) -> list[Load]:
    """Of the rounds to come; quiet when it runs out."""
    given: list[Load] = []

    def endless() -> Iterator[Load]:
        while True:
            yield given.pop(0) if given else QUIET

    meter = Meter(endless())
    monkeypatch.setattr(rounds, "find_load_meter", lambda: (meter, None))
    monkeypatch.setattr(rounds, "SHORTEST_SECONDS", 0.0)
    return given


def tasks(*names: str, seconds: float = 0.001) -> list[Task]:
    return [Task(name, lambda: seconds) for name in names]


def ignore(share: float, what: str) -> None:
    assert 0 <= share <= 1
    assert what


def test_every_task_is_visited_in_every_round(tmp_path: Path, loads) -> None:
    journal = run_rounds(tasks("a", "b", "c"), tmp_path / "j", HEADER, LIMITS, ignore)
    assert {key: len(found) for key, found in journal.seconds.items()} == {"a": 4, "b": 4, "c": 4}
    assert journal.of_task("a") == (0.001,) * 4
    assert journal.quiet_rounds == 4


def test_the_order_changes_from_round_to_round(tmp_path: Path, loads) -> None:
    seen: list[str] = []
    names = "abcdefgh"
    many = [Task(name, lambda name=name: seen.append(name) or 0.001) for name in names]
    run_rounds(many, tmp_path / "j", HEADER, LIMITS, ignore)
    orders = {tuple(seen[i : i + 8]) for i in range(0, len(seen), 8)}
    assert len(orders) == 4
    assert Counter(seen) == dict.fromkeys(names, 4)


def test_long_tasks_come_seldom_but_come() -> None:
    long = {0: 9.0}
    assert not is_due(long, 1, 0.05)
    assert is_due(long, EVERY_ROUND, 0.05)
    assert is_due(long, 1, math.inf)
    assert is_due({0: 0.01, 1: 0.01}, 2, 0.05)


def test_what_was_measured_is_kept_and_gone_on_with(tmp_path: Path, loads) -> None:
    path = tmp_path / "j"
    visits: Counter[str] = Counter()

    def visit(name: str) -> float:
        visits[name] += 1
        if sum(visits.values()) == 6:
            raise KeyboardInterrupt
        return 0.001

    three = [Task(name, lambda name=name: visit(name)) for name in "abc"]
    with pytest.raises(KeyboardInterrupt):
        run_rounds(three, path, HEADER, LIMITS, ignore)
    kept = [line for line in path.read_text().splitlines() if "task" in line]
    assert len(kept) == 5
    journal = run_rounds(three, path, HEADER, LIMITS, ignore)
    assert all(len(found) == 4 for found in journal.seconds.values())
    assert sum(visits.values()) == 12 + 1  # the visit that was cut off, once more


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path, loads) -> None:
    path = tmp_path / "j"
    run_rounds(tasks("a"), path, HEADER, Limits(0.0, 1, 1), ignore)
    with path.open("a") as file:
        file.write('{"round": 1, "task": "a", "sec')
    journal = run_rounds(tasks("a"), path, HEADER, LIMITS, ignore)
    assert len(journal.of_task("a")) == 4
    whole = [line for line in path.read_text().splitlines() if line.endswith("}")]
    assert len(whole) == len(path.read_text().splitlines()) - 1


def test_a_finished_journal_measures_nothing(tmp_path: Path, loads) -> None:
    path = tmp_path / "j"
    first = run_rounds(tasks("a"), path, HEADER, LIMITS, ignore)
    again = run_rounds([Task("a", lambda: pytest.fail("measured"))], path, HEADER, LIMITS, ignore)
    assert again.of_task("a") == first.of_task("a")


def test_busy_rounds_do_not_count(tmp_path: Path, loads) -> None:
    loads += [QUIET, BUSY, QUIET, BUSY]
    seconds = iter([1.0, 7.0, 1.0, 7.0, 1.0, 1.0])
    task = Task("a", lambda: next(seconds) / 100)
    journal = run_rounds([task], tmp_path / "j", HEADER, LIMITS, ignore)
    assert journal.of_task("a") == (0.01,) * 4
    assert len(journal.loads) == 6


def test_a_machine_that_stays_busy_ends_all_the_same(tmp_path: Path, loads) -> None:
    loads += [BUSY] * 20
    journal = run_rounds(tasks("a"), tmp_path / "j", HEADER, LIMITS, ignore)
    assert journal.quiet_rounds == 0
    assert len(journal.of_task("a")) == LIMITS.most_rounds  # all there is


def test_a_round_too_short_to_see_others_is_taken_for_quiet(
    tmp_path: Path, loads, monkeypatch
) -> None:
    monkeypatch.setattr(rounds, "SHORTEST_SECONDS", 60.0)
    loads += [BUSY] * 20
    journal = run_rounds(tasks("a"), tmp_path / "j", HEADER, LIMITS, ignore)
    assert journal.loads == dict.fromkeys(range(4))


def test_time_ends_the_rounds(tmp_path: Path, loads) -> None:
    limits = Limits(seconds=1e9, fewest_rounds=1, most_rounds=7)
    assert len(run_rounds(tasks("a"), tmp_path / "j", HEADER, limits, ignore).loads) == 7
    limits = Limits(seconds=0.0, fewest_rounds=2, most_rounds=7)
    assert len(run_rounds(tasks("a"), tmp_path / "k", HEADER, limits, ignore).loads) == 2


def test_another_measurements_journal_is_refused(tmp_path: Path, loads) -> None:
    path = tmp_path / "j"
    run_rounds(tasks("a"), path, HEADER, LIMITS, ignore)
    before = path.read_text()
    with pytest.raises(ValueError, match="another machine, version or command; remove it"):
        run_rounds(tasks("a"), path, {"machine": "other"}, LIMITS, ignore)
    assert path.read_text() == before


def test_something_else_is_refused(tmp_path: Path, loads) -> None:
    path = tmp_path / "j"
    path.write_text("not a journal\n")
    with pytest.raises(ValueError, match="remove it"):
        run_rounds(tasks("a"), path, HEADER, LIMITS, ignore)


def test_a_journal_is_lines_of_json(tmp_path: Path, loads) -> None:
    path = tmp_path / "j"
    run_rounds(tasks("a"), path, HEADER, Limits(0.0, 1, 1), ignore)
    header, visit, end = map(json.loads, path.read_text().splitlines())
    assert header == {"header": HEADER}
    assert visit == {"round": 0, "task": "a", "seconds": 0.001}
    assert end["load"] == {"others": 0.0, "steal": 0.0, "cores": 2}
    assert end["elapsed"] > 0
