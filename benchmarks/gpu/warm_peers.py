"""Whether the peers that compile on first use do so here, and how long that takes.

    python -m benchmarks.gpu.warm_peers --out FILE

A process for each head_dim and backend of FlashInfer, side by side; what they compile stays in
their cache, so that attention_peers does not wait for it.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.attention_peers import Truth, prepare
from benchmarks.gpu.flashinfer_peers import WAYS, FlashInfer
from benchmarks.gpu.record import DeviceLostError, Line, Record, attempt, machine, read_options
from benchmarks.gpu.shapes import Shape

SHAPES = (Shape("Qwen2.5-0.5B", 64, 512), Shape("Qwen3-0.6B", 64, 512))  # head_dim 64 and 128
BACKENDS = ("fa2", "auto")


@dataclass(frozen=True)
class Job:
    shape: Shape
    backend: str


def warm(job: Job) -> list[Line]:
    """Every way of one backend, one after another: they share what is compiled."""
    lines = []
    for way in (way for way in WAYS if way.endswith(job.backend)):
        began = time.monotonic()
        found: dict[str, Any]
        try:
            truth = Truth(job.shape)
            checked, why = attempt(partial(prepare, job.shape, FlashInfer(way), truth, 1))
            found = {"failed": why} if checked is None else {"relative_error": checked.error}
        except DeviceLostError as error:
            found = {"failed": f"broke the CUDA context: {error}"}
        seconds = time.monotonic() - began
        lines.append({"way": way, **vars(job.shape), "seconds": round(seconds, 1), **found})
        torch.cuda.empty_cache()
        if "broke" in str(found.get("failed")):
            break
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options("warm_peers", __doc__.partition("\n")[0], arguments)
    record = Record(options)
    record.add("machine", **machine())
    jobs = [Job(shape, backend) for shape in SHAPES for backend in BACKENDS]
    with multiprocessing.get_context("spawn").Pool(len(jobs)) as pool:
        for lines in pool.imap_unordered(warm, jobs):
            for line in lines:
                record.add("peer", **line)


if __name__ == "__main__":
    main()
