"""The records of a GPU machine as Markdown: the bars first, then every number behind them.

    python -m benchmarks.gpu.table RECORD... [--out FILE]

Records are added up: those of one call and of the next, on one kind of machine. Needs no GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.gpu.bars import (
    OURS,
    attention_lines,
    best,
    is_ours,
    of_kind,
    share_of_floor,
    speedup,
    verdicts,
)
from benchmarks.gpu.flashinfer_peers import WAYS
from benchmarks.gpu.record import Line, read_lines
from benchmarks.gpu.torch_peers import Flex, Sdpa, Xformers
from benchmarks.peers.table import MISSING, markdown, number

PEERS = (*(f"flashinfer {way}" for way in WAYS), Sdpa.name, Flex.name, Xformers.name)
BEST_TILES = 3
Rows = list[list[str]]


def render(lines: Sequence[Line]) -> str:
    sections = {
        "Machine": machine_rows(lines),
        "Bars": [["bar", "measured", ""], *([v.bar, v.found, v.word] for v in verdicts(lines))],
        "Whole decoding": decode_rows(lines),
        "Decode attention, microseconds of one layer": attention_rows(lines),
        "Prefix kernel": prefix_rows(lines),
        "Suffix kernel": suffix_rows(lines),
        "Small operations, microseconds and share of the copy rate": step_rows(lines),
        "Fastest tiles of Triton's prefix kernel": tile_rows(lines),
        "Greedy steps, GPU beside CPU in float32": greedy_rows(lines),
    }
    parts = [f"## {title}\n\n{markdown(rows)}" for title, rows in sections.items() if len(rows) > 1]
    failures = failed(lines)
    if failures:
        parts.append("## Not measured\n\n" + "\n".join(f"- {text}" for text in failures))
    return "\n\n".join(parts) + "\n"


def machine_rows(lines: Sequence[Line]) -> Rows:
    rows = [["GPU", "copy, TB/s", "GEMM, TFLOP/s", "torch", "triton", "CUDA", "date", "commit"]]
    for x in of_kind(lines, "ceilings"):
        copy, gemm = x["copy_bytes_per_second"] / 1e12, x["gemm_flops_per_second"] / 1e12
        versions = [x["torch"], x["triton"], x["cuda"], x["date"], (x["commit"] or MISSING)[:10]]
        rows.append([x["gpu"], f"{copy:.2f}", f"{gemm:.0f}", *map(str, versions)])
    return rows


def microseconds(seconds: float | None) -> str:
    return MISSING if seconds is None else f"{seconds * 1e6:.1f}"


def attention_rows(lines: Sequence[Line]) -> Rows:
    """Ours by the table's choice, the fastest of ours in brackets where another tile wins."""
    heads = ["model, k, P", "floor", f"{OURS} triton", f"{OURS} cuda", "other tiles", *PEERS]
    rows = [[*heads, "over FlashInfer"]]
    for line in attention_lines(lines):
        seconds = {name: variant["seconds"] for name, variant in line["variants"].items()}
        other = best(line, lambda name: name.startswith(OURS) and not is_ours(name))
        shown = [microseconds(seconds.get(f"{OURS} {backend}")) for backend in ("triton", "cuda")]
        shown.append(f"{microseconds(other[1])} ({other[0][3:]})" if other else MISSING)
        shown += [microseconds(seconds.get(peer)) for peer in PEERS]
        where = f"{line['model']}, {line['num_samples']}, {line['prefix_len']}"
        ratio = number(speedup(line), "{:.2f}x")
        rows.append([where, microseconds(line["floor_seconds"]), *shown, ratio])
    return rows


def prefix_rows(lines: Sequence[Line]) -> Rows:
    rows = [["model, k, P", "variant", "tiles", "microseconds", "TFLOP/s"]]
    for x in of_kind(lines, "prefix"):
        rate = f"{x['flops_per_second'] / 1e12:.0f}"
        where = f"{x['model']}, {x['num_samples']}, {x['prefix_len']}"
        rows.append([where, x["variant"], x["chosen"], microseconds(x["seconds"]), rate])
    return rows


def suffix_rows(lines: Sequence[Line]) -> Rows:
    rows = [["model, k, S", "backend", "microseconds", "TB/s", "share of copy"]]
    for x in of_kind(lines, "suffix"):
        where = f"{x['model']}, {x['num_samples']}, {x['suffix_len']}"
        rate, share = f"{x['bytes_per_second'] / 1e12:.2f}", f"{x['share_of_copy']:.0%}"
        rows.append([where, x["backend"], microseconds(x["seconds"]), rate, share])
    return rows


def step_rows(lines: Sequence[Line]) -> Rows:
    ways = ("cuda", "triton", "torch")
    rows = [["operation", "at", *ways]]
    for x in of_kind(lines, "step_op"):
        names = ("model", "width", "top_k", "top_p", "case")
        at = ", ".join(f"{name} {x[name]}" for name in names if name in x)
        found = (x["ways"].get(way) for way in ways)
        shown = [
            f"{microseconds(y['seconds'])} ({y['share_of_copy']:.0%})" if y else MISSING
            for y in found
        ]
        rows.append([x["op"], at, *shown])
    return rows


def tile_rows(lines: Sequence[Line]) -> Rows:
    """The whole call decides: few states to merge are part of what a tile is worth."""
    groups: dict[str, list[Line]] = {}
    for x in of_kind(lines, "tiles"):
        key = f"{x['model']}, {x['num_samples']}, {x['prefix_len']}"
        groups.setdefault(key, []).append(x)
    rows = [["model, k, P", *(f"number {i + 1}" for i in range(BEST_TILES))]]
    for where, group in groups.items():
        fastest = sorted(group, key=lambda x: x["whole_seconds"])[:BEST_TILES]
        shown = [f"{x['tiles']}: {microseconds(x['whole_seconds'])}" for x in fastest]
        rows.append([where, *shown, *[MISSING] * (BEST_TILES - len(shown))])
    return rows


def decode_rows(lines: Sequence[Line]) -> Rows:
    rows = [
        ["model, k, P, S", "engine", "tokens/s", "decoding alone", "share of floor", "host busy"]
    ]
    for x in of_kind(lines, "decode"):
        where = f"{x['model']}, {x['measured_samples']}, {x['prefix_len']}, {x['new_tokens']}"
        whole = x["measured_samples"] == x["num_samples"]
        floor = f"{share_of_floor(x):.0%}" if whole else MISSING
        speeds = [f"{x['tokens_per_second']:,.0f}", f"{x['decode_tokens_per_second']:,.0f}"]
        rows.append([where, x["engine"], *speeds, floor, f"{x['host_busy']:.0%}"])
    return rows


def greedy_rows(lines: Sequence[Line]) -> Rows:
    rows = [["prompts", "steps", "agreement", "differences", "largest lead of the CPU's token"]]
    for x in of_kind(lines, "greedy"):
        counts = [str(x["prompts"]), str(x["steps"]), f"{x['agreement']:.4%}"]
        lead = number(x["largest_lead"], "{:.1e}")
        rows.append([*counts, str(len(x["differences"])), lead])
    return rows


def failed(lines: Sequence[Line]) -> list[str]:
    """Why, once for each variant and reason."""
    found: dict[str, int] = {}
    for x in lines:
        names = {n: x[n] for n in ("engine", "variant", "backend", "op", "tiles") if n in x}
        what = " ".join([x["kind"], *map(str, names.values())])
        if x["kind"] == "attention":
            reasons = [f"{name}: {why}" for name, why in x["failed"].items()]
        elif x["kind"] == "lost":
            reasons = [f"{what}: {x['why']}"]
        elif x["kind"] == "step_op":
            reasons = [f"{x['op']} {way}: {why}" for way, why in x.get("failed_ways", {}).items()]
            reasons += [f"{what}: {x['failed']}"] if "failed" in x else []
        else:
            reasons = [f"{what}: {x['failed']}"] if "failed" in x else []
        for text in reasons:
            found[text] = found.get(text, 0) + 1
    return [text if n == 1 else f"{text} ({n} times)" for text, n in found.items()]


def read_all(paths: Iterable[Path]) -> list[Line]:
    return [line for path in paths for line in read_lines(path)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("records", type=Path, nargs="+", metavar="RECORD")
    parser.add_argument("--out", type=Path, metavar="FILE", help="Markdown; without it, printed")
    options = parser.parse_args(arguments)
    text = render(read_all(options.records))
    if options.out:
        options.out.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
