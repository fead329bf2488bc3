"""Decode attention at one table of shapes: every kernel of ours, FlashInfer, torch, xformers.

    python -m benchmarks.gpu.attention_peers --out FILE [--quick]

One prompt of P tokens, k samples with 128 own tokens, bfloat16, one layer. A variant is held to a
float32 reference, then timed beside the others, taking turns; planning is apart. Its sets of inputs
fill L2 three times over (up to 128 sets), so keys come from device memory as in a model of many
layers; `l2_times` says how far that was reached. A shape is one line of the record, and shapes that
are there already are not measured again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.ceilings import measure_ceilings
from benchmarks.gpu.flashinfer_peers import WAYS, FlashInfer
from benchmarks.gpu.floors import Ceilings, attention_floor
from benchmarks.gpu.ours import our_variants, to_slabs
from benchmarks.gpu.record import (
    DeviceLostError,
    Line,
    Record,
    attempt,
    lose_device,
    read_lines,
    read_options,
)
from benchmarks.gpu.shapes import (
    HEADS,
    Shape,
    all_shapes,
    attention,
    checked_rows,
    make_inputs,
    relative_error,
)
from benchmarks.gpu.timing import Runner, capture, sets_for, time_in_turns, why_too_large
from benchmarks.gpu.torch_peers import Flex, Sdpa, Xformers
from benchmarks.gpu.variants import Variant

DTYPE = torch.bfloat16
WRONG = 4.0  # times torch's own error in the same dtype: not worth timing


@dataclass(frozen=True)
class Checked:
    """A variant that gives the right answer, ready to be timed."""

    runner: Runner
    plan_seconds: float
    error: float
    l2_times: float


class Truth:
    """What is right for set 0 of a shape, in float32, and torch's own error in DTYPE."""

    def __init__(self, shape: Shape) -> None:
        inputs = make_inputs(shape, 0, "cuda", DTYPE)
        self.packed_q = to_slabs(shape, inputs).q
        self.rows = checked_rows(shape.num_samples)
        self.want = attention(shape, inputs, self.rows, torch.float32)
        self.torch_error = relative_error(attention(shape, inputs, self.rows, DTYPE), self.want)


def peers(warmed: Path) -> list[Variant]:
    """warmed: what warm_peers wrote. Without it, FlashInfer compiles while others wait."""
    compiled: dict[str, set[int]] = {way: set() for way in WAYS}
    for line in read_lines(warmed):
        if line["kind"] == "peer" and "failed" not in line:
            compiled[line["way"]].add(HEADS[line["model"]][2])
    known = warmed.exists()
    flashinfer = [FlashInfer(w, frozenset(compiled[w]) if known else None) for w in WAYS]
    return [*flashinfer, Sdpa(), Flex(), Xformers()]


def prepare(shape: Shape, variant: Variant, truth: Truth, l2_bytes: int) -> Checked:
    """Raises: ValueError when it is wrong or cannot do the shape."""
    size = variant.bytes_of_set(shape)
    count = sets_for(size, l2_bytes)
    made_and_stored = count * (shape.shared_bytes + size)
    why = variant.why_not(shape) or why_too_large(made_and_stored)
    if why is not None:
        raise ValueError(why)
    sets = [make_inputs(shape, i, "cuda", DTYPE) for i in range(count)]
    prepared = variant.prepare(shape, sets)
    del sets
    error = relative_error(prepared.calls[0]()[truth.rows], truth.want)
    if not error <= WRONG * truth.torch_error:
        raise ValueError(
            f"wrong: relative error {error:.2e}, torch's own is {truth.torch_error:.2e}"
        )
    if not bool(prepared.calls[-1]().isfinite().all()):
        raise ValueError("wrong: nan or infinity in the output")
    runner = capture(prepared.calls)
    runner.run()
    torch.cuda.synchronize()  # a fault of the graph is this variant's, not its neighbours'
    return Checked(runner, prepared.plan_seconds, error, count * size / l2_bytes)


def measure(
    shape: Shape,
    others: Sequence[Variant],
    ceilings: Ceilings,
    record: Record,
    lost: set[tuple[str, str]],
) -> dict[str, Any]:
    """lost: (shape, variant) that broke the device before."""
    truth = Truth(shape)
    l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    ready: dict[str, Checked] = {}
    failed: dict[str, str] = {}
    for variant in [*our_variants(shape, truth.packed_q), *others]:
        if (str(shape), variant.name) in lost:
            failed[variant.name] = "broke the CUDA context"
            continue
        try:
            found, why = attempt(partial(prepare, shape, variant, truth, l2_bytes))
        except DeviceLostError as error:
            lose_device(record, error, shape=str(shape), variant=variant.name)
        if found is None:
            failed[variant.name] = why or ""
        else:
            ready[variant.name] = found
    timings = time_in_turns({name: checked.runner for name, checked in ready.items()})
    H_kv, G, D = shape.heads
    k, P, S = shape.num_samples, shape.prefix_len, shape.suffix_len
    return {
        **asdict(shape),
        "heads": [H_kv, G, D],
        "floor_seconds": attention_floor(k, P, S, (H_kv, G, D), ceilings),
        "torch_error": truth.torch_error,
        "variants": {name: asdict(timings[name]) | described(c) for name, c in ready.items()},
        "failed": failed,
    }


def described(checked: Checked) -> Line:
    return {
        "plan_seconds": checked.plan_seconds,
        "relative_error": checked.error,
        "l2_times": round(checked.l2_times, 2),
    }


def key(line: Line) -> Shape:
    return Shape(line["model"], line["num_samples"], line["prefix_len"], line["suffix_len"])


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options("attention_peers", __doc__.partition("\n")[0], arguments)
    lines = read_lines(options.out)
    done = {key(line) for line in lines if line["kind"] == "attention"}
    lost = {(line["shape"], line["variant"]) for line in lines if line["kind"] == "lost"}
    record = Record(options)
    ceilings = measure_ceilings(record)
    others = peers(options.out.with_name("warm_peers.jsonl"))
    for shape in all_shapes(options.quick):
        if record.out_of_time():
            break
        if shape not in done:
            record.add("attention", **measure(shape, others, ceilings, record, lost))
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
