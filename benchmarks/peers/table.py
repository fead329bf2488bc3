"""The tables that a run prints: decode and prefill of every engine, and ours beside them.

python -m benchmarks.peers.table [benchmarks/results/cpu.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.peers.engines import ENGINES, OURS, parse_columns

MISSING = "-"
HEADS = {  # of our ratios
    "over_best_peer": "over the best peer",
    "over_llama_cpp": "over llama.cpp, equal bytes a weight",
    "share_of_floor": "share of the floor",
    "prefill_share_of_floor": "prefill, share of the floor",
}


def show(record: dict[str, Any]) -> str:
    cells = record["cells"]
    parts = ["Decode, tokens per second", decode_table(cells)]
    parts += [
        "Ours beside the best peer, and the floor at its own bytes a weight",
        ratio_table(cells),
    ]
    parts += ["Prefill, seconds", prefill_table(cells)]
    notes = sorted(
        {
            f"{name}: {engine['why_not']}"
            for cell in cells
            for name, engine in cell["engines"].items()
            if engine["why_not"]
        }
    )
    return "\n\n".join(parts + (["Not measured\n\n" + "\n".join(notes)] if notes else []))


def decode_table(cells: list[dict[str, Any]]) -> str:
    return engines_table(cells, "decode_tokens_per_second", "{:.0f}")


def prefill_table(cells: list[dict[str, Any]]) -> str:
    return engines_table(cells, "prefill_seconds", "{:.3f}")


def engines_table(cells: list[dict[str, Any]], quantity: str, form: str) -> str:
    """A column for each engine, its precisions side by side."""
    groups: dict[str, list[str]] = {}
    for name in cells[0]["engines"]:
        groups.setdefault(name.partition(":")[0], []).append(name)
    rows = [["P, k, S", *(heads(names) for names in groups.values()), "floor, float32"]]
    for cell in cells:
        row = [shape(cell)]
        for names in groups.values():
            values = (number(cell["engines"][name][quantity], form) for name in names)
            row.append(" / ".join(values))
        floor = cell["floors"].get("float32", {})
        rows.append([*row, number(floor.get(quantity), form)])
    return markdown(rows)


def ratio_table(cells: list[dict[str, Any]]) -> str:
    names = [name for name in cells[0]["engines"] if name.partition(":")[0] == OURS]
    rows = [["P, k, S", "ours", *HEADS.values(), "best peer"]]
    for cell in cells:
        best = heads([cell["best_peer"]]) if cell["best_peer"] else MISSING
        for name in names:
            engine = cell["engines"][name]
            if engine["decode_tokens_per_second"] is not None:
                shares = [number(engine.get(key), "{:.2f}") for key in HEADS]
                rows.append([shape(cell), name.partition(":")[2], *shares, best])
    return markdown(rows)


def heads(names: list[str]) -> str:
    columns = [column for name in names for column in parse_columns(name)]
    precisions = " / ".join(column.precision for column in columns)
    return f"{ENGINES[columns[0].engine].title} ({precisions})"


def shape(cell: dict[str, Any]) -> str:
    return f"{cell['prompt_len']}, {cell['num_samples']}, {cell['new_tokens']}"


def number(value: float | None, form: str) -> str:
    return MISSING if value is None else form.format(value)


def markdown(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("record", type=Path, nargs="?", default=Path("benchmarks/results/cpu.json"))
    print(show(json.loads(parser.parse_args().record.read_text())))


if __name__ == "__main__":
    main()
