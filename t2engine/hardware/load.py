"""Who else uses the machine while something is measured on it, in cores.

    others = busy time of all processors / seconds - own
    own    = time of this process and of all below it, living or reaped, / seconds
    steal  = time that the host took from this virtual machine's processors / seconds

A living child is this process's own work too (a compiler, a pool of workers), though the system
adds its time to its parent's only when it has ended and been waited for. A process that had left
the tree when the window began (a daemon) is one of the others, and so is the last of a child that
ended with SIGCHLD ignored.

    meter, why_not = find_load_meter()
    meter.start()
    ...
    load = meter.stop()

Units:  cores, which is seconds of processor time a second.
Raises: ValueError when a window is too short for the system's clock ticks.
Source: proc(5): /proc/stat (user counts guest, nice counts guest_nice), /proc/pid/stat.
        NVIDIA, NVML API reference, `nvmlUtilization_t`.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2engine.hardware.nvml import find_gpu
from t2engine.hardware.process_times import Process, Snapshot, read_snapshot

PROC = Path("/proc")
SHORTEST_SECONDS = 0.1  # ten ticks of a core: what others use is then off by a tenth of one
SHOWN = 3  # of the other processes, the heaviest
FAINT = 0.01  # cores of a process that is not worth a name
# A step's threads take each other's tasks, so others on a tenth of the cores make it 11 % slower,
# as much as the differences that are measured. Where tasks stay where they are it is worse.
BUSY = 0.1


@dataclass(frozen=True)
class OtherProcess:
    pid: int
    name: str
    cores: float


@dataclass(frozen=True)
class Load:
    """others may exceed the sum of heaviest: what began and ended meanwhile has no name here."""

    others: float  # cores, on average
    steal: float
    cores: int  # of the machine; a container may have been given fewer
    own: float = 0.0
    seconds: float = 0.0
    heaviest: tuple[OtherProcess, ...] = ()


@dataclass(frozen=True)
class GpuLoad:
    """others: processes; in a container NVML may see none, or number this one differently."""

    utilisation: float  # of the last 1/6 to 1 s, the part with a kernel running, anybody's
    others: int


class LoadMeter:
    def __init__(
        self,
        root: Path = PROC,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.root, self.clock, self.sleep = root, clock, sleep
        self.began: tuple[float, Snapshot] | None = None

    def start(self) -> None:
        self.began = self.clock(), read_snapshot(self.root)

    def stop(self) -> Load:
        """The load since start(), which need not be called again for a later stop()."""
        assert self.began is not None, "start() comes before stop()"
        began, before = self.began
        seconds = self.clock() - began
        return load_between(before, read_snapshot(self.root), seconds)

    def sample(self, seconds: float) -> Load:
        """The load while this process sleeps."""
        self.start()
        self.sleep(seconds)
        return self.stop()


def find_load_meter(root: Path = PROC) -> tuple[LoadMeter | None, str | None]:
    """None where the system has no /proc (macOS), with the reason and what can be said instead."""
    if (root / "stat").is_file():
        return LoadMeter(root), None
    return None, (
        f"no {root}/stat on {platform.system()}: who uses the processors cannot be measured; "
        f"{os.getloadavg()[0]:.2f} processes wanted to run in the last minute on average, this one "
        f"among them, on {os.cpu_count()} cores"
    )


def load_between(before: Snapshot, after: Snapshot, seconds: float) -> Load:
    if seconds < SHORTEST_SECONDS:
        raise ValueError(
            f"seconds must be at least {SHORTEST_SECONDS:g} to see the load, got {seconds:g}; "
            "measure a longer piece of work"
        )
    ticks = os.sysconf("SC_CLK_TCK") * seconds
    family = after.family | (before.family & after.processes.keys())
    busy = (after.busy_ticks - before.busy_ticks) / ticks
    own = own_ticks(before, after, family) / ticks
    used = [
        OtherProcess(process.pid, process.name, ticks_between(before, process) / ticks)
        for process in after.processes.values()
        if process.key not in family
    ]
    heaviest = sorted(used, key=lambda process: process.cores, reverse=True)[:SHOWN]
    return Load(
        others=max(0.0, busy - own),  # ticks are sampled, a process's time is not
        steal=(after.steal_ticks - before.steal_ticks) / ticks,
        cores=after.cores,
        own=own,
        seconds=seconds,
        heaviest=tuple(process for process in heaviest if process.cores >= FAINT),
    )


def own_ticks(before: Snapshot, after: Snapshot, family: set[tuple[int, int]]) -> int:
    """What the living of the family used, and the ended, whose time their parents took over."""
    living = [after.processes[key] for key in family]
    ended = [before.processes[key] for key in before.family - family]
    known = [before.processes[key] for key in family & before.processes.keys()]
    reaped = sum(process.reaped_ticks for process in living)
    reaped -= sum(process.reaped_ticks for process in known)
    reaped -= sum(process.ticks + process.reaped_ticks for process in ended)
    # Below 0 when what has ended was reaped by nobody here: its time is lost to us.
    return sum(ticks_between(before, process) for process in living) + max(0, reaped)


def ticks_between(before: Snapshot, process: Process) -> int:
    known = before.processes.get(process.key)
    return process.ticks - (known.ticks if known is not None else 0)


def is_busy(load: Load) -> bool:
    """Others, and a host that takes time away, have more than 10 % of the cores: see BUSY."""
    return load.others + load.steal > BUSY * load.cores


def describe(load: Load) -> str:
    """One line, with the names of what a user could stop."""
    names = [f"{other.name} (pid {other.pid}) {other.cores:.2f}" for other in load.heaviest]
    line = f"others use {load.others:.2f} of {load.cores} cores"
    if names:
        line += f": {', '.join(names)}"
    elif load.others >= FAINT:
        line += ", by no process that is seen from here or still runs"
    if load.steal >= FAINT:
        line += f"; the host of this virtual machine takes {load.steal:.2f}"
    return line


def gpu_load(
    index: int | None = None, *, uuid: str | None = None, nvml: Any = None
) -> tuple[GpuLoad | None, str | None]:
    """CUDA's device `index` (None: the current one), or None and why nothing is known.

    uuid, nvml: as in `find_gpu`.
    """
    gpu, reason = find_gpu(index, uuid=uuid, nvml=nvml)
    if gpu is None:
        return None, reason
    try:
        utilisation = gpu.nvml.nvmlDeviceGetUtilizationRates(gpu.handle).gpu / 100
        pids = {p.pid for p in gpu.nvml.nvmlDeviceGetComputeRunningProcesses(gpu.handle)}
    except gpu.nvml.NVMLError as error:
        return None, f"NVML reads no load of {gpu.name}: {error}"
    return GpuLoad(utilisation, len(pids - {os.getpid()})), None
