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


def show(record: dict[str, Any]) -> str:
    cells = record["cells"]
    parts = ["Decode, tokens per second", decode_table(cells)]
    parts += ["Ours: over the best peer, and share of the floor", ratio_table(cells)]
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
    names = list(cells[0]["engines"])
    rows = [["P, k, S", *map(heading, names), "floor float32"]]
    for cell in cells:
        rates = [cell["engines"][name]["decode_tokens_per_second"] for name in names]
        floor = cell["floors"].get("float32", {}).get("decode_tokens_per_second")
        rows.append([shape(cell), *(number(x, "{:.0f}") for x in (*rates, floor))])
    return markdown(rows)


def ratio_table(cells: list[dict[str, Any]]) -> str:
    names = [name for name in cells[0]["engines"] if name.partition(":")[0] == OURS]
    heads = [head for name in names for head in (f"{heading(name)} / peer", "/ floor")]
    rows = [["P, k, S", "best peer", *heads]]
    for cell in cells:
        row = [shape(cell), heading(cell["best_peer"]) if cell["best_peer"] else MISSING]
        for name in names:
            engine = cell["engines"][name]
            row.append(number(engine.get("over_best_peer"), "{:.2f}x"))
            row.append(number(engine.get("share_of_floor"), "{:.0%}"))
        rows.append(row)
    return markdown(rows)


def prefill_table(cells: list[dict[str, Any]]) -> str:
    names = list(cells[0]["engines"])
    rows = [["P, k, S", *map(heading, names), "floor float32"]]
    for cell in cells:
        seconds = [cell["engines"][name]["prefill_seconds"] for name in names]
        floor = cell["floors"].get("float32", {}).get("prefill_seconds")
        rows.append([shape(cell), *(number(x, "{:.3f}") for x in (*seconds, floor))])
    return markdown(rows)


def heading(name: str) -> str:
    [column] = parse_columns(name)
    return f"{ENGINES[column.engine].title} {column.precision}"


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
