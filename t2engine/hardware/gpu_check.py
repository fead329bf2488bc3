"""Does every GPU kernel give what its contract says, on this device? It takes about a minute.

Each kernel runs on small random inputs and is held against the contract's reference in float64. Its
error may be twice that of the reference in the kernel's own type, which is what torch itself makes
of the same numbers, plus one rounding of the result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from t2engine.hardware.gpu_probes import DRAWN, EXACT, FLOAT32_ONLY, PROBES, Inputs, Source
from t2engine.ops import (
    OPS,
    PREFIX_CHOICES,
    Op,
    PrefixChoice,
    load_function,
    plan_attention,
    planned,
)

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
ROUNDING = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
DRAWN_ROUNDING = 1e-4  # of a log-probability
BUDGET_SECONDS = 180.0  # where Triton must compile first
OUT_OF_TIME = "not checked, the time was over; run it again, compiled kernels are kept"

Run = Callable[[Inputs], Any]


@dataclass(frozen=True)
class Check:
    """error is the largest of the outputs', allowed the largest it may be."""

    operation: str
    backend: str
    dtype: str
    what: str  # the shape, and the kernel where there are several
    error: float
    allowed: float
    seconds: float
    problem: str | None = None  # why the kernel could not be run

    @property
    def passed(self) -> bool:
        return self.problem is None and self.error <= self.allowed


def check_kernels(
    device: torch.device,
    backends: tuple[str, ...] = ("cuda", "triton"),
    budget_seconds: float = BUDGET_SECONDS,
) -> Iterator[Check]:
    """One result after another; what the budget does not suffice for has that as its problem."""
    began = time.perf_counter()
    for name in PROBES:
        op = OPS[name]
        for backend in backends:
            if backend in op.backends:
                left = began + budget_seconds - time.perf_counter()
                yield from check_backend(op, backend, device, left)


def check_backend(
    op: Op, backend: str, device: torch.device, budget_seconds: float
) -> Iterator[Check]:
    reason = op.why_not(backend, device.type)
    if reason is not None:
        yield Check(op.name, backend, "", "", math.nan, 0.0, 0.0, reason)
        return
    began = time.perf_counter()
    for dtype in dtypes_of(op.name, backend):
        for what, run, inputs in probes(op, backend, dtype, device):
            if time.perf_counter() - began > budget_seconds:
                yield Check(op.name, backend, "", "", math.nan, 0.0, 0.0, OUT_OF_TIME)
                return
            yield check(op, backend, dtype, what, run, inputs)


def dtypes_of(name: str, backend: str) -> tuple[torch.dtype, ...]:
    one_is_enough = name == "philox_uniform" or (name, backend) in FLOAT32_ONLY
    return DTYPES[:1] if one_is_enough else DTYPES


def probes(
    op: Op, backend: str, dtype: torch.dtype, device: torch.device
) -> Iterator[tuple[str, Run, Inputs]]:
    """What to run: every shape, and for attention every prefix kernel that takes it."""
    for what, inputs in PROBES[op.name](Source(torch.Generator().manual_seed(0), dtype)):
        given = each_tensor(inputs, lambda x: x.to(device))
        if op.name != "slab_attention" or backend == "torch":
            yield what, lambda x: op(*x, backend=backend), given
            continue
        major, minor = torch.cuda.get_device_capability(device)
        for choice in PREFIX_CHOICES:
            head_dim = given[0].shape[3]
            if choice.fits(backend, 10 * major + minor, dtype.itemsize, head_dim):
                tiles = f"{choice.kernel} {choice.tile_rows}x{choice.tile_keys}"
                yield f"{what}, {tiles}", attend_by(op, choice), given


def attend_by(op: Op, choice: PrefixChoice) -> Run:
    def attend(inputs: Inputs) -> Tensor:
        q, k, v, columns, rows, *own = inputs
        pairs = zip(columns.tolist(), rows.tolist(), strict=True)
        plan = plan_attention([(*c, *r) for c, r in pairs], q, choice.backend, choice=choice)
        [out] = op.outputs(q)
        load_function(op.native[choice.backend])(out, *planned(plan, q, k, v, *own))
        return out

    return attend


def check(op: Op, backend: str, dtype: torch.dtype, what: str, run: Run, inputs: Inputs) -> Check:
    began = time.perf_counter()
    label = (op.name, backend, str(dtype).removeprefix("torch."), what)
    try:
        got = written(inputs, run)
    except (RuntimeError, ValueError) as caught:  # what a launch or a compiler throws
        problem = str(caught).partition("\n")[0] or type(caught).__name__
        return Check(*label, math.nan, 0.0, time.perf_counter() - began, problem)
    doubles = each_tensor(inputs, lambda x: x.double() if x.is_floating_point() else x)
    exact = written(doubles, lambda x: op.reference(*x))
    allowed = allowed_error(op, dtype, inputs, exact)
    error = largest_difference(got, exact)
    return Check(*label, error, allowed, time.perf_counter() - began)


def allowed_error(op: Op, dtype: torch.dtype, inputs: Inputs, exact: list[Tensor]) -> float:
    if op.name in EXACT:
        return 0.0
    if op.name in DRAWN:
        return DRAWN_ROUNDING
    plain = written(inputs, lambda x: op.reference(*x))
    return 2 * largest_difference(plain, exact) + ROUNDING[dtype]


def written(inputs: Inputs, run: Run) -> list[Tensor]:
    """All that a call returns, then its inputs as it leaves them."""
    copies = each_tensor(inputs, Tensor.clone)
    result = run(copies)
    results = [result] if isinstance(result, Tensor) else list(result)
    return results + [x for x in copies if isinstance(x, Tensor)]


def largest_difference(got: list[Tensor], want: list[Tensor]) -> float:
    """Infinite where one is nan and the other is not."""
    largest = 0.0
    for a, b in zip(got, want, strict=True):
        if a.numel() == 0:
            continue
        difference = (a.double() - b.double()).abs()
        same = (a == b) | (a.isnan() & b.isnan())
        largest = max(largest, float(difference.masked_fill(same, 0).nan_to_num(math.inf).max()))
    return largest


def each_tensor(inputs: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
    return tuple(function(x) if isinstance(x, Tensor) else x for x in inputs)
