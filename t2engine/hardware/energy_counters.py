"""The machine's energy counters: RAPL for a CPU, NVML for an NVIDIA GPU, or why there is none.

RAPL counts a processor package with all in it, and where it can the memory beside it (dram). Its
parts (core, uncore) are in the package already, and the platform (psys) would count it again. NVML
counts a whole GPU board. Both count whoever works there, not this process alone.

Units:  joules; watts.
Source: Linux, Documentation/power/powercap/powercap.rst: `energy_uj` runs from 0 to
        `max_energy_range_uj` and begins again; AMD's processors are under the same names.
        Intel 64 and IA-32 software developer's manual, volume 3B, MSR_PKG_ENERGY_STATUS: a new
        value every millisecond or so, and a turn in about a minute under high load.
        NVIDIA, NVML API reference, `nvmlDeviceGetTotalEnergyConsumption`: millijoules since the
        driver was loaded, from Volta on. A new value about every 100 ms: ml.energy, "Thermally
        stable profiling for accurate GPU energy measurement". What the sensor itself misses
        (arXiv:2312.02741: an A100 or H100 looks at its power a quarter of the time) nobody here
        can know.
"""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from t2engine.hardware.nvml import Gpu, find_gpu

POWERCAP = Path("/sys/class/powercap")
RAPL_SECONDS = 0.001
NVML_SECONDS = 0.1
MOST_WATTS = 1000.0  # of a package: twice what any sold today may draw for long


class EnergyCounter(Protocol):
    """A difference of two reads is right when they are at most longest_seconds apart."""

    @property
    def name(self) -> str: ...

    @property
    def resolution_seconds(self) -> float:
        """How old a value that is read may be."""

    @property
    def longest_seconds(self) -> float:
        """Between two reads, so that none of the counter's turns is missed; inf if it has none."""

    def read(self) -> float:
        """Joules so far, from a beginning of the counter's own."""


def find_counter(
    device: str, *, uuid: str | None = None, powercap: Path = POWERCAP, nvml: Any = None
) -> tuple[EnergyCounter | None, str | None]:
    """The counter of "cpu", "cuda" (the current GPU) or "cuda:N", or None and the reason.

    uuid, nvml: as in `find_gpu`.
    """
    if device == "cpu":
        return find_rapl(powercap)
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    gpu, reason = find_gpu(int(match[1]) if match[1] else None, uuid=uuid, nvml=nvml)
    if gpu is None:
        return None, reason
    counter = NvmlCounter(gpu)
    try:
        counter.read()
    except gpu.nvml.NVMLError as error:
        return None, f"NVML reads no energy counter of {gpu.name}: {error}"
    return counter, None


# ---- RAPL ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Zone:
    """A directory of powercap's with one counter."""

    path: Path
    name: str

    def number(self, file: str) -> int:
        return int((self.path / file).read_text())

    @property
    def energy_uj(self) -> int:
        return self.number("energy_uj")


class RaplCounter:
    """The sum of some zones' counters, each unwound where it began again since the last read."""

    resolution_seconds = RAPL_SECONDS

    def __init__(self, zones: list[Zone]) -> None:
        self.zones = zones
        self.name = f"RAPL {'+'.join(zone.name for zone in zones)}"
        self.ranges_uj = [zone.number("max_energy_range_uj") for zone in zones]
        self.longest_seconds = min(self.ranges_uj) / 1e6 / MOST_WATTS
        self.last_uj = [zone.energy_uj for zone in zones]
        self.total_uj = 0
        self.lock = threading.Lock()  # a long window is watched from a thread of its own

    def read(self) -> float:
        with self.lock:
            now_uj = [zone.energy_uj for zone in self.zones]
            for now, last, range_uj in zip(now_uj, self.last_uj, self.ranges_uj, strict=True):
                self.total_uj += now - last if now >= last else now - last + range_uj
            self.last_uj = now_uj
            return self.total_uj / 1e6


def find_rapl(powercap: Path = POWERCAP) -> tuple[RaplCounter | None, str | None]:
    if not powercap.is_dir():
        return None, f"no powercap directory {powercap}: the kernel exposes no RAPL here"
    try:
        zones = rapl_zones(powercap)
        if not zones:
            return None, (
                f"no RAPL package in {powercap}: this processor has no energy counter, or the "
                "virtual machine does not pass it on"
            )
        return RaplCounter(zones), None
    except PermissionError as error:
        return None, (
            f"no permission to read {error.filename}: run as root or make it readable: "
            f"sudo chmod a+r {powercap}/intel-rapl:*/energy_uj"
        )
    except OSError as error:
        return None, f"RAPL cannot be read: {error}"


def rapl_zones(powercap: Path) -> list[Zone]:
    """Packages, and the memory of each. intel-rapl-mmio:* are the same packages by another way."""
    zones = []
    for path in sorted(powercap.glob("intel-rapl:*")):
        name = (path / "name").read_text().strip()
        is_part = path.name.count(":") > 1
        if (is_part and name == "dram") or (not is_part and name.startswith("package")):
            zones.append(Zone(path, name))
    return zones


# ---- NVML ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NvmlCounter:
    gpu: Gpu
    resolution_seconds: float = NVML_SECONDS
    longest_seconds: float = math.inf

    @property
    def name(self) -> str:
        return f"NVML {self.gpu.name}"

    def read(self) -> float:
        return self.gpu.nvml.nvmlDeviceGetTotalEnergyConsumption(self.gpu.handle) / 1e3
