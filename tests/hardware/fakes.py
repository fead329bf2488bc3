"""Stand-ins for what a test machine lacks: powercap's and proc's directories, NVML, a clock."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Powercap:
    """A class directory of powercap's, whose counters the test advances."""

    root: Path
    range_uj: int = 262_143_328_850  # of a processor with units of 61 microjoules

    def zone(self, directory: str, name: str, energy_uj: int = 0) -> None:
        path = self.root / directory
        path.mkdir(parents=True)
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{self.range_uj}\n")
        (path / "energy_uj").write_text(f"{energy_uj}\n")

    def advance(self, directory: str, joules: float) -> None:
        file = self.root / directory / "energy_uj"
        file.write_text(f"{(int(file.read_text()) + round(joules * 1e6)) % self.range_uj}\n")


class NvmlError(Exception):
    pass


@dataclass
class Nvml:
    """The functions of pynvml that are used, for GPUs by UUID. `refuses` names one that fails."""

    millijoules: dict[str, int]
    pids: list[int] = field(default_factory=list)
    utilisation: int = 0
    refuses: str = ""
    NVMLError = NvmlError

    def _called(self, name: str) -> None:
        if name == self.refuses:
            raise NvmlError("Not Supported")

    def nvmlInit(self) -> None:  # noqa: N802
        self._called("nvmlInit")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid not in self.millijoules:
            raise NvmlError("Not Found")
        return uuid

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802
        return f"Model {handle[-1]}"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        self._called("nvmlDeviceGetTotalEnergyConsumption")
        return self.millijoules[handle]

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:  # noqa: N802
        self._called("nvmlDeviceGetUtilizationRates")
        return SimpleNamespace(gpu=self.utilisation)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in self.pids]


OWN_PID = 100
HERTZ = os.sysconf("SC_CLK_TCK")


@dataclass
class Proc:
    """A /proc in which process OWN_PID reads. Times are in seconds; `run` lets a process use some.

    user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice
    """

    root: Path
    cores: int = 4
    times: list[float] = field(default_factory=lambda: [50.0, 1, 20, 900, 5, 1, 1, 0, 0, 0])

    def __post_init__(self) -> None:
        (self.root / "self").mkdir(parents=True)
        (self.root / "self/stat").write_text(f"{OWN_PID} (python) R 1")
        self.processes: dict[int, tuple[str, int, int, list[float]]] = {}
        self.start(1, "init", parent=0)
        self.start(OWN_PID, "python", parent=1)
        self.spend(0, 0.0)

    def start(
        self, pid: int, name: str, parent: int, seconds: float = 0.0, started: int = 5
    ) -> None:
        (self.root / str(pid)).mkdir(exist_ok=True)
        self.processes[pid] = (name, parent, started, [seconds, 0.0])
        self.write(pid)

    def write(self, pid: int) -> None:
        name, parent, started, (own, reaped) = self.processes[pid]
        times = [round(HERTZ * seconds) for seconds in (own / 2, own / 2, reaped / 2, reaped / 2)]
        fields = ["S", parent, *[0] * 9, *times, 20, 0, 1, 0, started, 0, 0]
        (self.root / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")

    def spend(self, column: int, seconds: float) -> None:
        self.times[column] += seconds
        ticks = " ".join(str(round(HERTZ * seconds)) for seconds in self.times)
        lines = [f"cpu  {ticks}", *(f"cpu{core} {ticks}" for core in range(self.cores))]
        (self.root / "stat").write_text("\n".join([*lines, "intr 12345 0", "ctxt 9"]) + "\n")

    def run(self, pid: int, seconds: float) -> None:
        self.processes[pid][3][0] += seconds
        self.write(pid)
        self.spend(0, seconds)

    def end(self, pid: int, reaper: int | None) -> None:
        own, reaped = self.processes.pop(pid)[3]
        (self.root / str(pid) / "stat").unlink()
        (self.root / str(pid)).rmdir()
        if reaper is not None:
            self.processes[reaper][3][1] += own + reaped
            self.write(reaper)
