"""The driver's end of protocol.py: an adapter in a process of its own, idle between requests."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.engines import Column
from benchmarks.peers.protocol import RefusedError

ROOT = Path(__file__).parents[2]


class Worker:
    """Started, and the model loaded, at the first request; a process that died starts again."""

    def __init__(
        self, column: Column, python: str, model_dir: Path, threads: int, limit_seconds: float
    ) -> None:
        self.column, self.python, self.limit_seconds = column, python, limit_seconds
        self.load = {
            "do": "load",
            "model_dir": str(model_dir.resolve()),
            "precision": column.precision,
            "threads": threads,
        }
        self.process: subprocess.Popen[str] | None = None
        self.never: str | None = None  # why it cannot run at all

    def ask(self, **request: Any) -> Any:
        """The adapter's answer. Raises: RefusedError, also when its process ends or is too slow."""
        if self.never:
            raise RefusedError(self.never)
        if self.process is None:
            try:
                self.start()
            except RefusedError as error:
                self.stop()
                self.never = str(error)
                raise
        return self.exchange(request)

    def start(self) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, read when the process ends
        self.process = subprocess.Popen(
            [self.python, "-m", self.column.module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            start_new_session=True,  # so that it ends with what it started
        )
        self.answer()
        self.exchange(self.load)

    def exchange(self, request: dict[str, Any]) -> Any:
        assert self.process
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        assert self.process
        assert self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(self.limit_seconds):
                self.stop()
                raise RefusedError(f"no answer in {self.limit_seconds:.0f} seconds")
        line = self.process.stdout.readline()
        if not line:
            raise RefusedError(self.last_words())
        answer = json.loads(line)
        if "refused" in answer:
            raise RefusedError(answer["refused"])
        return answer["result"]

    def last_words(self) -> str:
        assert self.process
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines() or ["nothing on standard error"]
        self.stop()
        end = signal.Signals(-code).name if code < 0 else f"code {code}"
        return f"its process ended with {end}: {lines[-1]}"

    def stop(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self.errors.close()
        self.process = None
