"""The processor time of the machine and of each process so far, as /proc has it.

Units:  clock ticks, SC_CLK_TCK a second.
Source: proc(5), /proc/stat and /proc/pid/stat; fields are counted from 1 there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Process:
    pid: int
    started: int  # ticks since boot: a pid is used again, a pid with its start is not
    parent: int
    name: str
    ticks: int  # of all its threads
    reaped_ticks: int  # of its children that have ended and been waited for, and theirs

    @property
    def key(self) -> tuple[int, int]:
        return self.pid, self.started


@dataclass(frozen=True)
class Snapshot:
    busy_ticks: int  # of all processors
    steal_ticks: int
    cores: int
    own_pid: int
    processes: dict[tuple[int, int], Process]

    @cached_property
    def family(self) -> set[tuple[int, int]]:
        """This process and all living ones below it."""
        children: dict[int, list[Process]] = {}
        for process in self.processes.values():
            children.setdefault(process.parent, []).append(process)
        found = [process for process in self.processes.values() if process.pid == self.own_pid]
        for process in found:  # grows as it goes
            found += children.get(process.pid, [])
        return {process.key for process in found}


def read_snapshot(root: Path) -> Snapshot:
    text = (root / "stat").read_text()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, text.split()[1:9])
    processes = [read_process(path) for path in root.glob("[0-9]*/stat")]
    return Snapshot(
        busy_ticks=user + nice + system + irq + softirq,
        steal_ticks=steal,
        cores=len(re.findall(r"^cpu\d+ ", text, re.MULTILINE)),
        own_pid=int((root / "self/stat").read_text().split()[0]),
        processes={process.key: process for process in processes if process is not None},
    )


def read_process(path: Path) -> Process | None:
    """None for one that has ended since it was listed, or that this user may not see."""
    try:
        text = path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    head, _, tail = text.rpartition(")")  # a name may hold brackets and spaces
    pid, _, name = head.partition(" (")
    fields = tail.split()  # from field 3 on
    utime, stime, cutime, cstime = map(int, fields[11:15])
    return Process(
        pid=int(pid),
        started=int(fields[19]),
        parent=int(fields[1]),
        name=name,
        ticks=utime + stime,
        reaped_ticks=cutime + cstime,
    )
