"""The kernels of a decode step alone: attention's two, its tiles, and the small ones beside them.

python -m benchmarks.gpu.kernels --out FILE [--quick]

prefix   FLOP/s at k G >= 1024 and P >= 2048; its seconds are those of the operation less those
         of the same call without prefix items, where the suffix kernel merges the same states
suffix   bytes/s of own keys alone, as a share of the measured copy rate
tiles    every tile of Triton's prefix kernel that compiles, by shape: what the table of choices
         should hold
step_op  rms_norm, silu_mul, rope_append, sample_tokens, step_update (steps.py)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.ceilings import measure_ceilings
from benchmarks.gpu.floors import Ceilings
from benchmarks.gpu.ours import (
    BACKENDS,
    SlabAttention,
    Slabs,
    call_on,
    choices_for,
    tiles_of,
    to_slabs,
    without_prefix_kernel,
)
from benchmarks.gpu.record import (
    DeviceLostError,
    Line,
    Options,
    Record,
    attempt,
    lose_device,
    read_lines,
    read_options,
)
from benchmarks.gpu.shapes import HEADS, Shape, attention, checked_rows, make_inputs, relative_error
from benchmarks.gpu.steps import measure_steps, step_ops
from benchmarks.gpu.timing import capture, sets_for, time_call, time_in_turns
from t2engine.ops._attention_plan import plan_attention
from t2engine.ops._prefix_choices import ANY, PrefixChoice

DTYPE = torch.bfloat16
WRONG = 4.0  # times torch's own error
PREFIX_SAMPLES, PREFIX_LENGTHS = 1024, (2048, 8192)
SUFFIX_LENGTHS = (64, 128, 512)
SWEEP = ((8, 2048), (64, 2048), (1024, 2048))  # samples, prompt tokens
TILES = {  # by head_dim: rows, keys, warps, stages
    64: (
        *((16, keys, 4, stages) for keys, stages in ((64, 3), (128, 2), (128, 3))),
        *((32, keys, 4, 3) for keys in (64, 128)),
        *((64, keys, 4, stages) for keys in (64, 128) for stages in (2, 3)),
        *((128, keys, 8, stages) for keys in (64, 128) for stages in (2, 3)),
        (128, 64, 4, 3),
        (256, 64, 8, 2),
    ),
    128: (
        *((16, keys, 4, stages) for keys, stages in ((64, 3), (64, 2), (128, 2))),
        (32, 64, 4, 3),
        *((64, 64, warps, stages) for warps in (4, 8) for stages in (2, 3)),
        (64, 128, 8, 2),
        *((128, 64, 8, stages) for stages in (2, 3)),
        (128, 128, 8, 2),
    ),
}


@dataclass(frozen=True)
class Job:
    """One line of the record."""

    kind: str
    what: Line  # says which it is, and is written with what was found
    measure: Any


def measure_prefix(shape: Shape, ours: SlabAttention) -> Line:
    """Raises: ValueError when the result is wrong, or too fast to be seen."""
    inputs = make_inputs(shape, 0, "cuda", DTYPE)
    slabs = to_slabs(shape, inputs)
    plan = ours.plan(shape, slabs.q)
    whole = partial(call_on, plan, ours.backend, slabs, shape.scale)
    rest = partial(call_on, without_prefix_kernel(plan), ours.backend, slabs, shape.scale)
    rows = checked_rows(shape.num_samples)
    want = attention(shape, inputs, rows, torch.float32)
    torch_error = relative_error(attention(shape, inputs, rows, DTYPE), want)
    error = relative_error(whole()[rows], want)
    if not error <= WRONG * torch_error:
        raise ValueError(f"wrong: relative error {error:.2e}, torch's own is {torch_error:.2e}")
    timings = time_in_turns({"whole": capture([whole] * 4), "rest": capture([rest] * 4)})
    seconds = timings["whole"].seconds - timings["rest"].seconds
    if seconds <= 0:
        raise ValueError("the prefix kernel's seconds are lost in noise")
    H_kv, G, D = shape.heads
    flops = 4 * shape.num_samples * H_kv * G * D * shape.prefix_len
    return {
        "chosen": tiles_of(plan.choice),
        "items": len(plan.items),
        "num_states": plan.num_states,
        "relative_error": error,
        "torch_error": torch_error,
        "whole_seconds": timings["whole"].seconds,
        "rest_seconds": timings["rest"].seconds,
        "seconds": seconds,
        "flops_per_second": flops / seconds,
    }


def measure_suffix(shape: Shape, backend: str, ceilings: Ceilings) -> Line:
    l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    size = shape.key_value_bytes(shape.num_samples * shape.suffix_len)
    sets: list[Slabs] = [
        to_slabs(shape, make_inputs(shape, i, "cuda", DTYPE))
        for i in range(sets_for(size, l2_bytes))
    ]
    plan = plan_attention([], sets[0].q, backend)
    timing = time_call(*(partial(call_on, plan, backend, x, shape.scale) for x in sets))
    moved = size + 2 * sets[0].q.nbytes  # q is read, out written
    rate = moved / timing.seconds
    return {
        "seconds": timing.seconds,
        "bytes_per_second": rate,
        "share_of_copy": rate / ceilings.copy_bytes_per_second,
    }


def prefix_jobs(quick: bool) -> Iterator[Job]:
    for model in HEADS:
        for prefix_len in PREFIX_LENGTHS[: 1 if quick else None]:
            shape = Shape(model, PREFIX_SAMPLES, prefix_len)
            probe = make_inputs(Shape(model, 1, 1, 1), 0, "cuda", DTYPE).q
            for backend in BACKENDS:
                variants = [SlabAttention(backend)]
                if variants[0].why_not(shape) is None:
                    rows = choices_for(shape, backend, probe)
                    variants += [SlabAttention(backend, choice) for choice in rows]
                for ours in variants:
                    what = asdict(shape) | {"backend": backend, "variant": ours.name}
                    yield Job("prefix", what, partial(measure_prefix, shape, ours))


def suffix_jobs(quick: bool, ceilings: Ceilings) -> Iterator[Job]:
    for model in HEADS:
        for suffix_len in SUFFIX_LENGTHS[: 2 if quick else None]:
            shape = Shape(model, PREFIX_SAMPLES, 128, suffix_len)
            for backend in BACKENDS:
                what = asdict(shape) | {"backend": backend}
                yield Job("suffix", what, partial(measure_suffix, shape, backend, ceilings))


def tile_jobs(quick: bool) -> Iterator[Job]:
    """A model's heads stand for its head_dim: two of each."""
    models = ("Qwen2.5-0.5B", "Qwen3-0.6B") if quick else tuple(HEADS)
    for model in models:
        head_dim = HEADS[model][2]
        for cell in SWEEP:
            shape = Shape(model, *cell)
            for tiles in TILES[head_dim]:
                choice = PrefixChoice("triton", "dot", 80, 2, head_dim, ANY, *tiles)
                what = asdict(shape) | {"tiles": list(tiles)}
                ours = SlabAttention("triton", choice)
                yield Job("tiles", what, partial(measure_prefix, shape, ours))


def jobs(options: Options, ceilings: Ceilings) -> Iterator[Job]:
    yield from prefix_jobs(options.quick)
    yield from suffix_jobs(options.quick, ceilings)
    for what, op in step_ops(options.quick):
        yield Job("step_op", what, partial(measure_steps, op, ceilings))
    yield from tile_jobs(options.quick)


def identity(kind: str, line: Line, names: Sequence[str]) -> str:
    return f"{kind} " + " ".join(f"{name}={line.get(name)}" for name in names)


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options("kernels", __doc__.partition("\n")[0], arguments)
    lines = read_lines(options.out)
    record = Record(options)
    ceilings = measure_ceilings(record)
    for job in jobs(options, ceilings):
        if record.out_of_time():
            break
        own = identity(job.kind, job.what, list(job.what))
        if any(own == identity(x.get("of", x["kind"]), x, list(job.what)) for x in lines):
            continue
        try:
            found, why = attempt(job.measure)
        except DeviceLostError as error:
            lose_device(record, error, of=job.kind, **job.what)
        record.add(job.kind, **job.what, **(found or {"failed": why}))


if __name__ == "__main__":
    main()
