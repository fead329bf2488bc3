"""What a run found, as plain data: added to call by call, written whole after each.

A cell holds its calls by column; medians, floors and ratios are computed from them when the record
is written, so that a run cut short leaves a record of what it had.
"""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.cells import Cell
from benchmarks.peers.engines import EQUAL_BYTES, LLAMA_CPP, OURS, Column
from benchmarks.peers.floor import (
    WEIGHT_BYTES,
    Rates,
    decode_floor_rate,
    prefill_floor_seconds,
)
from t2engine.schema import ModelConfig

GEMMS = ("gemm_linear", "gemm_torch")  # in float32
READS = ("read_sum", "read_dot", "read_linear")
Call = dict[str, Any]  # a Timing, its mode, and its tokens per second


@dataclass
class CellRecord:
    cell: Cell
    rates: list[dict[str, float]] = field(default_factory=list)  # of each repeat, by name
    load: list[float] = field(default_factory=list)  # average of a minute, before each repeat
    warm_up: dict[Column, list[Call]] = field(default_factory=dict)  # in every mode
    calls: dict[Column, list[Call]] = field(default_factory=dict)
    why_not: dict[Column, str] = field(default_factory=dict)

    def best_mode(self, column: Column) -> str:
        return max(self.warm_up[column], key=lambda call: call["tokens_per_second"])["mode"]

    def median(self, column: Column, quantity: str) -> float | None:
        calls = self.calls.get(column)
        if column in self.why_not or not calls:
            return None
        return statistics.median(call[quantity] for call in calls)

    def machine_rates(self) -> Rates | None:
        """The median over the repeats of the highest of each."""
        if not self.rates:
            return None
        return Rates(
            statistics.median(max(r[name] for name in GEMMS) for r in self.rates),
            statistics.median(max(r[name] for name in READS) for r in self.rates),
        )


def summary(record: CellRecord, columns: list[Column], config: ModelConfig) -> dict[str, Any]:
    """A cell as it is written: everything measured, and what follows from it."""
    rates = record.machine_rates()
    peers = {c: record.median(c, "tokens_per_second") for c in columns if c.engine != OURS}
    measured = {str(c): value for c, value in peers.items() if value}
    best_peer = max(measured, key=lambda name: measured[name], default=None)
    floors = {}
    if rates:
        for dtype in WEIGHT_BYTES:
            floors[dtype] = {
                "decode_tokens_per_second": decode_floor_rate(config, record.cell, rates, dtype),
                "prefill_seconds": prefill_floor_seconds(config, record.cell, rates, dtype),
            }
    engines = {str(c): engine_summary(record, c) for c in columns}
    for column in columns:
        rate = engines[str(column)]["decode_tokens_per_second"]
        if column.engine != OURS or rate is None:
            continue
        ours = engines[str(column)]
        ours["over_best_peer"] = rate / measured[best_peer] if best_peer else None
        equal = measured.get(str(Column(LLAMA_CPP, EQUAL_BYTES[column.precision])))
        ours["over_llama_cpp"] = rate / equal if equal else None
        if column.precision in floors:
            floor = floors[column.precision]
            ours["share_of_floor"] = rate / floor["decode_tokens_per_second"]
            ours["prefill_share_of_floor"] = floor["prefill_seconds"] / ours["prefill_seconds"]
    return {
        **asdict(record.cell),
        "load": record.load,
        "rates": record.rates,
        "floors": floors,
        "best_peer": best_peer,
        "engines": engines,
    }


def engine_summary(record: CellRecord, column: Column) -> dict[str, Any]:
    return {
        "decode_tokens_per_second": record.median(column, "tokens_per_second"),
        "prefill_seconds": record.median(column, "prefill_seconds"),
        "why_not": record.why_not.get(column),
        "calls": record.calls.get(column, []),
        "warm_up": record.warm_up.get(column, []),
    }


def write(path: Path, fields: dict[str, Any]) -> None:
    """Never half a file, even if the run is cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(fields, indent=1) + "\n")
    os.replace(partial, path)
