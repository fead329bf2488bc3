"""What the GPU benchmarks share: their options, and results written line by line as they come.

A record is JSON, one object to a line, each with its `kind`; a run cut short has lost the line it
was at. The first line of a run says on what it ran.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch

ROOT = Path(__file__).parents[2]
DEVICE_LOST = 3  # exit code: run again, and what is in the record is not done again
Line = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    out: Path
    quick: bool
    seconds: float  # begin nothing new after this long


def read_options(
    name: str, description: str, arguments: Sequence[str] | None, seconds: float = 540
) -> Options:
    """Ends the program with 2 and one line where an argument is wrong or there is no GPU."""
    parser = argparse.ArgumentParser(f"python -m benchmarks.gpu.{name}", description=description)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON lines, added")
    parser.add_argument("--quick", action="store_true", help="the shapes that matter most")
    parser.add_argument("--seconds", type=float, default=seconds, help="begin nothing new after")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print(f"benchmarks.gpu.{name}: needs a CUDA device, found none", file=sys.stderr)
        raise SystemExit(2)
    return Options(options.out, options.quick, options.seconds)


class Record:
    def __init__(self, options: Options) -> None:
        self.path, self.began = options.out, time.monotonic()
        self.limit_seconds = options.seconds
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"kind": kind, **fields})
        with self.path.open("a") as file:
            file.write(line + "\n")
        print(line if len(line) < 400 else line[:397] + "...", flush=True)

    def out_of_time(self) -> bool:
        return time.monotonic() - self.began > self.limit_seconds


def read_lines(path: Path) -> list[Line]:
    """The whole lines of a record; one that a run was cut short in is left out."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def machine() -> Line:
    """Needs a GPU."""
    import triton

    properties = torch.cuda.get_device_properties(0)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "gpu": properties.name,
        "capability": 10 * properties.major + properties.minor,
        "processors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "l2_bytes": properties.L2_cache_size,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": triton.__version__,
        "date": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        "commit": commit.stdout.strip() or None,
    }


def reason(error: BaseException) -> str:
    """Its kind and the first line of what it says, at most 300 characters."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:300]


class DeviceLostError(RuntimeError):
    """A kernel broke this process's CUDA context; only a new process can go on."""


def attempt(action: Callable[[], T]) -> tuple[T | None, str | None]:
    """What the action gives, or why it gave nothing. Raises: DeviceLostError."""
    try:
        return action(), None
    except Exception as error:  # what a peer cannot do is a cell of the table, whatever it raises
        why = reason(error)
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        raise DeviceLostError(why) from error
    return None, why


def lose_device(record: Record, error: DeviceLostError, **what: Any) -> NoReturn:
    record.add("lost", **what, why=str(error))
    raise SystemExit(DEVICE_LOST)
