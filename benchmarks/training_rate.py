"""How fast questions are drawn for training, and how much of a GPU training uses.

    python -m benchmarks.training_rate feed [--questions-per-step 640] [--batches 240] [--rounds 5]
    python -m benchmarks.training_rate steps --device cuda --peak 989e12 [--parameters 100e6]

feed: tokens per second, padding not counted, that the generated tasks are drawn at in this process
and by a process for each, in turns; the medians. steps: the steps of a run as `t2 study train`
makes them, drawn ahead: tokens per second and, of --peak, the share that the counted FLOPs are of.

Units: peak in FLOPs per second; 989e12 is an H100's and an H200's in dense bfloat16.
Source: NVIDIA H200 Tensor Core GPU datasheet, half of the value with sparsity.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import islice

import torch

from t2engine.model.llama import build_optimizer, initialise
from t2engine.study.ladder import CONTEXT_LEN, build_run
from t2engine.study.mixture import Batch, batches, prefetched
from t2engine.study.presets import GPU
from t2engine.study.rows import WINDOW
from t2engine.study.tasks.registry import GENERATED_TASKS
from t2engine.study.training import Progress, completion_loss, step

Feed = Callable[..., Generator[Batch, None, None]]


def feed_rate(feed: Feed, questions_per_step: int, num_batches: int) -> float:
    """Tokens per second after the first window, when processes have started."""
    with closing(feed(GENERATED_TASKS, 0, questions_per_step, length=CONTEXT_LEN)) as stream:
        for _ in islice(stream, WINDOW):
            pass
        began = time.perf_counter()
        tokens = sum(drawn.num_tokens for drawn in islice(stream, num_batches))
        return tokens / (time.perf_counter() - began)


def measure_feed(questions_per_step: int, num_batches: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {"batches": [], "prefetched": []}
    for _ in range(rounds):
        for feed in (batches, prefetched):
            rates[feed.__name__].append(feed_rate(feed, questions_per_step, num_batches))
    for name, found in rates.items():
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        print(f"{name:10} {statistics.median(found):>12,.0f} tokens/s  ({spread})")


def measure_steps(parameters: float, device: str, peak: float, num_steps: int) -> None:
    run = build_run(parameters, GPU.tokens[-1], GPU.tasks, GPU.recipe)
    model = initialise(run.config, seed=0).to(device)
    optimizer = build_optimizer(model, run.recipe.betas, run.recipe.weight_decay)
    loss_of = torch.compile(completion_loss)
    progress = Progress()
    arguments = (GENERATED_TASKS, 0, run.questions_per_step)
    with closing(prefetched(*arguments, length=run.config.max_context_len)) as stream:
        for drawn in islice(stream, WINDOW):  # compiles
            loss = step(run, model, optimizer, drawn, progress, loss_of, device)
        loss.item()
        before, began = (progress.tokens, progress.flops), time.perf_counter()
        for drawn in islice(stream, num_steps):
            loss = step(run, model, optimizer, drawn, progress, loss_of, device)
        loss.item()  # waits for the device
        seconds = time.perf_counter() - began
    tokens, flops = progress.tokens - before[0], progress.flops - before[1]
    print(
        f"N = {run.N:,}, {run.questions_per_step} questions a step: {tokens / seconds:,.0f} "
        f"tokens/s, {flops / seconds:.3g} FLOP/s, {flops / seconds / peak:.1%} of the peak"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    feed = commands.add_parser("feed")
    feed.add_argument("--questions-per-step", type=int, default=640)
    feed.add_argument("--batches", type=int, default=240)
    feed.add_argument("--rounds", type=int, default=5)
    steps = commands.add_parser("steps")
    steps.add_argument("--parameters", type=float, default=GPU.sizes[-1])
    steps.add_argument("--device", default="cuda")
    steps.add_argument("--peak", type=float, required=True)
    steps.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    if options.command == "feed":
        measure_feed(options.questions_per_step, options.batches, options.rounds)
    else:
        measure_steps(options.parameters, options.device, options.peak, options.steps)


if __name__ == "__main__":
    main()
