"""How the driver talks to an adapter: a line of JSON asks, a line of JSON answers.

An adapter lives in a process of its own, perhaps in another interpreter, and sits blocked on its
standard input while others are measured. This module imports the standard library alone.

    {"do": "load", "model_dir": ..., "precision": ..., "threads": 2}
    {"do": "run", "prompt_ids": [...], "num_samples": 8, "new_tokens": 64, "seed": 0, "mode": ...}

The answer is {"result": ...} or {"refused": "why"}. Anything else an adapter raises ends its
process, and the driver reports the last line it wrote to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol


class RefusedError(RuntimeError):
    """What an engine cannot do here; the message says why in one line."""


@dataclass(frozen=True)
class Timing:
    """One call. `tokens` were decoded in decode_seconds, by all samples together."""

    prefill_seconds: float
    decode_seconds: float
    tokens: int


class Adapter(Protocol):
    def versions(self) -> dict[str, str]:
        """What is installed, by package."""

    def modes(self, num_samples: int) -> list[str]:
        """Ways to do the same work; the driver measures with the fastest."""

    def load(self, model_dir: Path, precision: str, threads: int) -> None: ...

    def run(
        self, prompt_ids: list[int], num_samples: int, new_tokens: int, seed: int, mode: str
    ) -> Timing: ...


def serve(make_adapter: Callable[[], Adapter], available: Callable[[], str | None]) -> None:
    """Answer until standard input ends. available() says in one line why it cannot run, or None."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to standard error
    why_not = available()
    answers.write(json.dumps({"refused": why_not} if why_not else {"result": None}) + "\n")
    if why_not:
        return
    adapter = make_adapter()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": answer_to(adapter, request)}
        except RefusedError as error:
            answer = {"refused": str(error).strip().partition("\n")[0]}
        answers.write(json.dumps(answer) + "\n")


def refuse_beyond_memory(cache_bytes: int) -> None:
    """Refuse keys and values that would not leave a third of the free memory to the rest."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = 1024 * int(line.split()[1])
            if 1.5 * cache_bytes > free:
                raise RefusedError(
                    f"keys and values need {cache_bytes / 2**30:.1f} GiB and half as much again, "
                    f"{free / 2**30:.1f} GiB are free"
                )


def answer_to(adapter: Adapter, request: dict) -> object:
    do = request.pop("do")
    if do == "versions":
        return adapter.versions()
    if do == "modes":
        return adapter.modes(**request)
    if do == "load":
        return adapter.load(Path(request.pop("model_dir")), **request)
    if do == "run":
        return asdict(adapter.run(**request))
    raise ValueError(f"do must be versions, modes, load or run, got {do!r}")
