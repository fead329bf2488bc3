"""The cost of one more sample: seconds of a decode step over k = 1 to 512 samples of one prompt.

    python -m benchmarks.marginal_sample [--dtype bfloat16] [--cache-dtype int8] [--model 5M]
    python -m benchmarks.marginal_sample --plot benchmarks/results/marginal-float32.json

The model is the 150M Llama layout of benchmarks/peers/model.py with random weights, another of its
layouts, or a directory.
All k take turns, round after round, so that a drift of the machine does not look like structure;
each round measures the machine's rates too. Beside it the same engine with sharing switched off, at
fewer k. benchmarks/marginal says how a step is run (stage.py) and judged (judge.py). A whole run
needs 4 GB of memory and a quiet machine. --plot draws a PNG beside the JSON and needs matplotlib
and numpy alone, torch not at all.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.marginal import judge
from t2engine.schema import ModelConfig, Precision

RESULTS = Path("benchmarks/results")
DTYPES = ("float32", "bfloat16", "float16", "int8")
CACHES = ("float32", "bfloat16", "int8")
PROMPTS = (128, 1024, 4096)
# Every k up to 32, then ever wider apart, and the last of a tile of rows or a block of 72 with
# the first of the next (csrc/cpu/product.cpp).
STEPS = ((1, 33, 1), (36, 65, 4), (72, 129, 8), (144, 257, 16), (288, 513, 32))
EDGES = (36, 42, 48, 56, 60, 70, 72, 84, 96, 144, 216, 288, 432)
UNSHARED = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def shared_counts() -> list[int]:
    counts = {k for start, stop, step in STEPS for k in range(start, stop, step)}
    return sorted(counts | {*EDGES} | {k + 1 for k in EDGES})


def measure(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from benchmarks.marginal import stage
    from benchmarks.peers.model import LAYOUTS, write_model
    from benchmarks.peers.record import write
    from t2engine.hardware.machine import examine

    precision = Precision(options.dtype, options.cache_dtype)
    directory = write_model(options.model) if options.model in LAYOUTS else Path(options.model)
    native = stage.load(directory, precision, options.threads)
    config = native.model.config
    rater = stage.Rater(native)
    record: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.marginal_sample", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": examine(),
        "threads": options.threads,
        "model": asdict(config),
        "precision": asdict(precision),
        "suffix_len": stage.SUFFIX_LEN,
        "tile_rows": judge.TILE_ROWS,
        "prompts": {},
    }
    for prompt_len in options.prompts:
        with torch.inference_mode():
            found = measure_prompt(
                stage.Stage(native, prompt_len, max(options.samples)), rater, options
            )
        judge_prompt(found, config, precision, prompt_len, stage.SUFFIX_LEN)
        record["prompts"][prompt_len] = found
        print(judge.sentence(prompt_len, found["verdict"]), flush=True)
        write(options.out, record)
    return record


def measure_prompt(stage: Any, rater: Any, options: argparse.Namespace) -> dict[str, Any]:
    shared: dict[int, list[list[float]]] = {k: [] for k in options.samples}
    unshared: dict[int, list[list[float]]] = {k: [] for k in options.unshared}
    rates, load = [], []
    for number in range(options.rounds):
        load.append(os.getloadavg()[0])
        rates.append(rater.measure())
        for k in sorted({*shared, *unshared}):
            for rounds, is_shared in ((shared, True), (unshared, False)):
                if k in rounds:
                    seen = rounds[k][-1] if rounds[k] else [None]
                    rounds[k].append(stage.visit(k, is_shared, min(seen)))
        print(f"P = {stage.prompt_len}: round {number + 1} of {options.rounds}", flush=True)
    return {
        "load": load,
        "rates": rates,
        "prompt_copies_unshared": stage.copies,
        "shared_seconds": shared,
        "unshared_seconds": unshared,
    }


def judge_prompt(
    found: dict[str, Any],
    config: ModelConfig,
    precision: Precision,
    prompt_len: int,
    suffix_len: int,
) -> None:
    """Adds the points, the floors and the verdict."""
    rate = judge.rates(found["rates"])
    steps = judge.curve(found["shared_seconds"])
    floor = {k: judge.floors(config, precision, prompt_len, suffix_len, k, rate) for k in steps}
    found["shared"] = steps
    found["unshared"] = judge.curve(found["unshared_seconds"])
    found["floor_seconds"] = {k: {"flops": f, "bytes": b} for k, (f, b) in floor.items()}
    found["verdict"] = judge.verdict(steps, floor)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--plot", type=Path, metavar="JSON", help="draw an earlier run, and no more"
    )
    parser.add_argument("--model", default="small", help="a layout's name or a directory")
    parser.add_argument("--dtype", default="float32", choices=DTYPES, help="of the weights")
    parser.add_argument("--cache-dtype", default="float32", choices=CACHES, help="of the keys")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, nargs="+", default=list(PROMPTS), metavar="P")
    parser.add_argument("--samples", type=int, nargs="+", default=shared_counts(), metavar="K")
    parser.add_argument("--unshared", type=int, nargs="*", default=list(UNSHARED), metavar="K")
    parser.add_argument("--out", type=Path, metavar="JSON")
    options = parser.parse_args()
    most = max(options.samples)
    options.unshared = [k for k in options.unshared if k <= most]
    cache = "" if options.cache_dtype == "float32" else f"-cache-{options.cache_dtype}"
    options.out = options.out or RESULTS / f"marginal-{options.dtype}{cache}.json"
    return options


def main() -> None:
    options = parse()
    if options.plot is None:
        measure(options)
        return
    from benchmarks.marginal.plot import draw

    picture = options.plot.with_suffix(".png")
    draw(json.loads(options.plot.read_text()), picture)
    print(picture)


if __name__ == "__main__":
    main()
