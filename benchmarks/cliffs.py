"""Whether a step costs what its neighbours' do: seconds over the floor along families of shapes.

    python -m benchmarks.cliffs [--dtype int8] [--families head_dim gqa]

A family changes one thing at a time: head_dim, the query heads that share a key head, the size of
the vocabulary, the number of samples, the length of the prompt, the number of threads. All its
shapes take turns, round after round. Each is given as its seconds over its own floor
(benchmarks/marginal/judge.py), so that more work is no cliff, and each is held against its
neighbours: a ratio of 1.5 is a cliff. Weights are random: time does not depend on what they say.

Units:  seconds; FLOPs and bytes per second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.marginal import judge
from benchmarks.marginal.stage import SUFFIX_LEN, Rater, Stage
from benchmarks.marginal_sample import CACHES, DTYPES
from benchmarks.peers.record import write
from t2engine.hardware.machine import examine
from t2engine.hardware.native_steps import random_model
from t2engine.schema import ModelConfig, Precision

MOST_RATIO = 1.5  # between neighbours
BASE = ModelConfig(
    family="llama",
    vocab_size=8192,
    hidden_size=768,
    intermediate_size=2048,
    num_layers=4,
    num_heads=12,
    num_kv_heads=4,
    head_dim=64,
    max_context_len=8192,
    norm_eps=1e-5,
    rope_theta=10000.0,
    rotary_dim=64,
    tied_embeddings=True,
)


@dataclass(frozen=True)
class Shape:
    config: ModelConfig = BASE
    prompt_len: int = 512
    num_samples: int = 64
    threads: int = 2


def with_heads(num_heads: int, num_kv_heads: int, head_dim: int) -> Shape:
    heads = {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
    return Shape(replace(BASE, **heads, rotary_dim=head_dim))


FAMILIES: dict[str, dict[str, Shape]] = {
    "head_dim": {
        str(d): with_heads(2 * n, n, d)
        for d, n in ((32, 12), (64, 6), (80, 5), (96, 4), (112, 4), (128, 3), (256, 2))
    },
    "gqa": {
        f"{h}/{kv}": with_heads(h, kv, 64)
        for h, kv in ((8, 8), (8, 4), (12, 4), (8, 2), (10, 2), (12, 2), (14, 2), (8, 1))
    },
    "vocab": {
        str(v): Shape(replace(BASE, vocab_size=v)) for v in (32000, 50257, 65537, 128256, 151936)
    },
    "samples": {
        str(k): Shape(num_samples=k) for k in (61, 63, 64, 65, 67, 71, 72, 73, 97, 127, 129, 255)
    },
    "prompt": {
        str(p): Shape(prompt_len=p) for p in (1, 17, 127, 128, 129, 255, 257, 1023, 1024, 1025)
    },
    "threads": {str(t): Shape(threads=t) for t in (2, 3, 4)},
}


def measure_family(
    shapes: dict[str, Shape], precision: Precision, rounds: int
) -> dict[str, dict[str, float]]:
    """By shape: its seconds, its floor's, and their ratio."""
    stages = {}
    for label, shape in shapes.items():
        native = random_model(shape.config, precision, shape.threads)
        stages[label] = Stage(native, shape.prompt_len, shape.num_samples)
    rater = Rater(stages[next(iter(shapes))].steps.native)
    seconds: dict[str, list[float]] = {label: [] for label in shapes}
    rates = []
    for _ in range(rounds):
        rates.append(rater.measure())
        for label, stage in stages.items():
            seen = min(seconds[label], default=None)
            seconds[label].append(min(stage.visit(shapes[label].num_samples, True, seen)))
    rate = judge.rates(rates)
    return {label: point(shapes[label], precision, seconds[label], rate) for label in shapes}


def point(
    shape: Shape, precision: Precision, seconds: list[float], rate: dict[str, float]
) -> dict[str, float]:
    floor = max(
        judge.floors(shape.config, precision, shape.prompt_len, SUFFIX_LEN, shape.num_samples, rate)
    )
    step = statistics.median(seconds)
    return {"seconds": step, "floor_seconds": floor, "ratio": step / floor}


def cliffs(points: dict[str, dict[str, float]]) -> dict[str, float]:
    """Between neighbours: how much more one costs, over its floor, than the other."""
    found = {}
    for (a, before), (b, after) in pairwise(points.items()):
        change = after["ratio"] / before["ratio"]
        found[f"{a} to {b}"] = max(change, 1 / change)
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    precision = Precision(options.dtype, options.cache_dtype)
    record: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.cliffs", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": examine(),
        "load": os.getloadavg()[0],
        "rounds": options.rounds,
        "precision": vars(precision),
        "families": {},
    }
    for name in options.families:
        with torch.inference_mode():
            points = measure_family(FAMILIES[name], precision, options.rounds)
        steps = cliffs(points)
        record["families"][name] = {"points": points, "cliffs": steps}
        ratios = ", ".join(f"{label}: {p['ratio']:.2f}" for label, p in points.items())
        worst = max(steps, key=lambda pair: steps[pair])
        held = "no cliff" if steps[worst] <= MOST_RATIO else f"a cliff, above {MOST_RATIO}"
        print(
            f"{name}, seconds over floor: {ratios}; worst {worst}: {steps[worst]:.2f} ({held})",
            flush=True,
        )
        write(options.out, record)
    return record


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dtype", default="float32", choices=DTYPES, help="of the weights")
    parser.add_argument("--cache-dtype", default="float32", choices=CACHES, help="of the keys")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, metavar="JSON")
    options = parser.parse_args()
    options.out = options.out or Path(f"benchmarks/results/cliffs-{options.dtype}.json")
    return options


if __name__ == "__main__":
    measure(parse())
