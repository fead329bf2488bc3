"""Measure t2engine beside its peers: same models, same shapes, taking turns in one run.

    python -m benchmarks.peers.run --python PEERS_PYTHON [--cells 128,8,64 ...] [--engines t2 ...]

Every engine keeps its own process. A warm-up calls each of them once per cell in every mode it has
and keeps the fastest mode; then, for each repeat, for each cell, the machine's rates are measured
and every engine is called in turn, one further along the list each repeat. Figures are medians.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.peers import record, table
from benchmarks.peers.cells import CELLS, Cell, parse_cell
from benchmarks.peers.engines import ENGINES, OURS, Column, parse_columns
from benchmarks.peers.model import CACHE, LAYOUTS, write_model
from benchmarks.peers.protocol import RefusedError
from benchmarks.peers.rates import RateMeter
from benchmarks.peers.record import Call, CellRecord
from benchmarks.peers.worker import Worker
from t2engine.hardware.machine import examine
from t2engine.model.config import read_config

RESULT = Path("benchmarks/results/cpu.json")


@dataclass(frozen=True)
class Options:
    columns: list[Column]
    cells: list[Cell]
    python: dict[str, str]  # interpreter by engine
    model: str
    cache: Path
    threads: int
    repeats: int
    patience_seconds: float
    limit_seconds: float
    out: Path


class Driver:
    def __init__(self, options: Options) -> None:
        self.options = options
        model_dir = write_model(options.model, options.cache)
        self.config = read_config(model_dir)
        self.meter = RateMeter(self.config, options.threads)
        self.workers = {
            column: Worker(
                column,
                options.python[column.engine],
                model_dir,
                options.threads,
                options.limit_seconds,
            )
            for column in options.columns
        }
        self.cells = [CellRecord(cell) for cell in options.cells]
        self.versions: dict[str, Any] = {}
        machine = examine()
        machine.pop("operations")
        self.about = {
            "command": shlex.join(["python", "-m", "benchmarks.peers.run", *sys.argv[1:]]),
            "began": now(),
            "machine": machine,
            "model": options.model,
            "threads": options.threads,
            "repeats": options.repeats,
        }

    def run(self) -> dict[str, Any]:
        try:
            for cell in self.cells:
                for column in self.options.columns:
                    self.warm_up(cell, column)
            for repeat in range(self.options.repeats):
                for cell in self.cells:
                    self.repeat(cell, repeat)
        finally:
            for worker in self.workers.values():
                worker.stop()
        return self.write()

    def warm_up(self, cell: CellRecord, column: Column) -> None:
        worker = self.workers[column]
        began = time.perf_counter()
        try:
            if str(column) not in self.versions:
                self.versions[str(column)] = worker.ask(do="versions")
            modes = worker.ask(do="modes", num_samples=cell.cell.num_samples)
            cell.warm_up[column] = [self.call(cell, column, mode, "warm-up") for mode in modes]
        except RefusedError as error:
            cell.why_not[column] = str(error)
            say(f"{cell.cell} {column}: {error}")
            self.write()
            return
        if time.perf_counter() - began > self.options.patience_seconds:
            mode = cell.best_mode(column)  # its warm-up is its one call
            cell.calls[column] = [c for c in cell.warm_up[column] if c["mode"] == mode]
        self.write()

    def repeat(self, cell: CellRecord, repeat: int) -> None:
        columns = self.options.columns
        turn = repeat % len(columns)
        cell.load.append(round(os.getloadavg()[0], 2))
        cell.rates.append(self.meter.measure())
        for column in columns[turn:] + columns[:turn]:
            done = len(cell.calls.get(column, []))
            if column in cell.why_not or done > repeat or (repeat and done < repeat):
                continue
            try:
                call = self.call(cell, column, cell.best_mode(column), f"repeat {repeat}")
            except RefusedError as error:
                cell.why_not[column] = str(error)
                say(f"{cell.cell} {column}: {error}")
                continue
            cell.calls.setdefault(column, []).append(call)
        self.write()

    def call(self, cell: CellRecord, column: Column, mode: str, name: str) -> Call:
        shape = cell.cell
        timing = self.workers[column].ask(
            do="run",
            prompt_ids=shape.prompt(self.config.vocab_size, f"{name} {mode}"),
            num_samples=shape.num_samples,
            new_tokens=shape.new_tokens,
            seed=len(cell.calls.get(column, [])),
            mode=mode,
        )
        rate = timing["tokens"] / timing["decode_seconds"]
        say(
            f"{shape} {name} {column} ({mode}): {rate:.0f} tokens/s, "
            f"prefill {timing['prefill_seconds']:.3f} s"
        )
        return {**timing, "mode": mode, "tokens_per_second": rate}

    def write(self) -> dict[str, Any]:
        cells = [record.summary(c, self.options.columns, self.config) for c in self.cells]
        fields = {**self.about, "ended": now(), "versions": self.versions, "cells": cells}
        record.write(self.options.out, fields)
        return fields


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parse() -> Options:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="+", metavar="P,k,S", default=list(map(str, CELLS)))
    parser.add_argument("--engines", nargs="+", metavar="ENGINE[:PRECISION]", default=list(ENGINES))
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="[ENGINE=]PATH",
        help="interpreter of the peers, or of one of them; this one unless told",
    )
    parser.add_argument("--model", choices=list(LAYOUTS), default="small")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where models are kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--patience",
        type=float,
        default=300,
        help="seconds of a warm-up, all modes, after which an engine is not repeated in that cell",
    )
    parser.add_argument("--limit", type=float, default=1800, help="seconds of one call at most")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    try:
        cells = [parse_cell(text) for text in given.cells]
        columns = [column for text in given.engines for column in parse_columns(text)]
    except ValueError as error:
        parser.error(str(error))
    python: dict[str, str] = defaultdict(lambda: sys.executable)
    peers = set(ENGINES) - {OURS}
    for entry in given.python:
        engine, separator, path = entry.rpartition("=")
        python |= {engine: path} if separator else dict.fromkeys(peers, path)
    return Options(
        columns=columns,
        cells=cells,
        python=python,
        model=given.model,
        cache=given.cache,
        threads=given.threads,
        repeats=given.repeats,
        patience_seconds=given.patience,
        limit_seconds=given.limit,
        out=given.out,
    )


def main() -> None:
    print(table.show(Driver(parse()).run()))


if __name__ == "__main__":
    main()
