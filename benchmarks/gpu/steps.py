"""The small operations of a decode step in bfloat16, each backend beside torch's own way.

Bytes are what must move: inputs read once, outputs written once. Where a backend's result is not
torch's within the rounding of bfloat16, its line says so and has no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.floors import Ceilings
from benchmarks.gpu.models import model_config
from benchmarks.gpu.record import Line
from benchmarks.gpu.timing import Timing, capture, sets_for, time_in_turns
from t2engine.ops import OPS
from tests.cases import Case
from tests.slab_cases import ROPE_APPEND_AT_SCALE, STEP_UPDATE_AT_SCALE, RopeAppendCase

BACKENDS = ("triton", "cuda")
DEVICE = "cuda"
DTYPE = torch.bfloat16
MODELS = ("5M", "Qwen2.5-0.5B", "Qwen3-0.6B", "Llama-3.2-1B")
ROWS = 1024
MOST_SETS = 16  # of inputs; small ones stay in L2, as a layer's activations do
TOLERANCE = 2e-2  # relative to the result's norm
FLOAT32_INPUTS = {"rope_append": (4, 5)}  # cos and sin
ALIVE, LAST, MAX_NEW_TOKENS, END_SET = 1, 5, 9, 10  # of step_update's inputs; end set 0 is empty
Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class StepOp:
    """An operation, a way to make its inputs, and torch's way to do it (None: there is none).

    bytes: None takes the operation's own cost.
    """

    name: str
    make: Callable[[int], Inputs]  # of a set's number, on the GPU
    bytes: int | None = None
    torch_way: Callable[..., Any] | None = None


def norm_inputs(hidden: int, index: int) -> Inputs:
    g = torch.Generator(DEVICE).manual_seed(index)
    x = torch.randn(ROWS, hidden, generator=g, device=DEVICE, dtype=DTYPE)
    return x, torch.randn(hidden, generator=g, device=DEVICE, dtype=DTYPE), 1e-5


def gate_inputs(inner: int, index: int) -> Inputs:
    g = torch.Generator(DEVICE).manual_seed(index)
    return (torch.randn(ROWS, 2 * inner, generator=g, device=DEVICE, dtype=DTYPE),)


def draw_inputs(vocab: int, top_k: int, top_p: float, index: int) -> Inputs:
    g = torch.Generator(DEVICE).manual_seed(index)
    logits = 3 * torch.randn(ROWS, vocab, generator=g, device=DEVICE, dtype=DTYPE)

    def every(value: float, dtype: torch.dtype) -> Tensor:
        return torch.full((ROWS,), value, dtype=dtype, device=DEVICE)

    filters = every(top_k, torch.int64), every(top_p, torch.float32), every(0, torch.float32)
    uniform = torch.rand(ROWS, generator=g, device=DEVICE, dtype=torch.float64)
    return (logits, every(1, torch.float32), *filters, uniform)


def case_inputs(case: Case, name: str, index: int) -> Inputs:
    """The contract's own case, floating-point tensors in DTYPE but those that stay wide."""
    inputs = list(case.inputs(DEVICE))
    wide = FLOAT32_INPUTS.get(name, ())
    if name == "step_update":  # a row that ended would be no work for the calls after
        inputs[ALIVE] = torch.ones_like(inputs[ALIVE])
        inputs[MAX_NEW_TOKENS] = torch.full_like(inputs[MAX_NEW_TOKENS], 1 << 40)
        inputs[END_SET] = torch.zeros_like(inputs[END_SET])
        inputs[LAST] = inputs[LAST].clamp(min=0)

    def cast(i: int, x: Any) -> Any:
        narrow = isinstance(x, Tensor) and x.dtype == torch.float32 and i not in wide
        return x.to(DTYPE) if narrow else x

    return tuple(cast(i, x) for i, x in enumerate(inputs))


def torch_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return torch.nn.functional.rms_norm(x, weight.shape, weight, eps)


def torch_gate(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=1)
    return torch.nn.functional.silu(gate) * up


def torch_draw(logits: Tensor, *_: Tensor) -> Tensor:
    """Temperature alone: by the race of exponentials, as vLLM draws."""
    p = logits.float().softmax(dim=-1)
    return p.div_(torch.empty_like(p).exponential_()).argmax(dim=-1)


def step_ops(quick: bool) -> Iterator[tuple[Line, StepOp]]:
    for model in MODELS:
        config = model_config(model)
        hidden, inner, vocab = config.hidden_size, config.intermediate_size, config.vocab_size
        sizes: Line = {"model": model, "rows": ROWS}
        norm = StepOp("rms_norm", partial(norm_inputs, hidden), 4 * ROWS * hidden, torch_norm)
        gate = StepOp("silu_mul", partial(gate_inputs, inner), 6 * ROWS * inner, torch_gate)
        yield {"op": "rms_norm", **sizes, "width": hidden}, norm
        yield {"op": "silu_mul", **sizes, "width": inner}, gate
        for top_k, top_p in ((0, 1.0), (50, 0.95)):
            plain = top_k == 0
            draw = StepOp(
                "sample_tokens",
                partial(draw_inputs, vocab, top_k, top_p),
                2 * ROWS * vocab,
                torch_draw if plain else None,
            )
            yield {"op": "sample_tokens", **sizes, "top_k": top_k, "top_p": top_p}, draw
    if quick:
        return
    for case in (*ROPE_APPEND_AT_SCALE, *STEP_UPDATE_AT_SCALE):
        name = "rope_append" if isinstance(case, RopeAppendCase) else "step_update"
        yield {"op": name, "case": str(case)}, StepOp(name, partial(case_inputs, case, name))


def measure_steps(op: StepOp, ceilings: Ceilings) -> Line:
    """Every backend that runs here, and torch's way, taking turns."""
    l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    operation, first = OPS[op.name], op.make(0)
    moved = operation.cost(*first).bytes if op.bytes is None else op.bytes
    sets = [first, *(op.make(i) for i in range(1, min(MOST_SETS, sets_for(moved, l2_bytes))))]
    ways: dict[str, Callable[..., Any]] = {}
    failed: dict[str, str] = {}
    for backend in BACKENDS:
        why = operation.why_not(backend, "cuda") or why_wrong(op, backend)
        if why:
            failed[backend] = why
        else:
            ways[backend] = partial(operation, backend=backend)
    if op.torch_way is not None:
        ways["torch"] = op.torch_way
    runners = {
        name: capture([partial(way, *inputs) for inputs in sets]) for name, way in ways.items()
    }
    timings = time_in_turns(runners)
    return {
        "bytes": moved,
        "ways": {name: described(timing, moved, ceilings) for name, timing in timings.items()},
        "failed_ways": failed,
    }


def why_wrong(op: StepOp, backend: str) -> str | None:
    """Held against torch's way where there is one; the operations' tests hold the others."""
    if op.torch_way is None or op.name == "sample_tokens":  # draws differ, rightly
        return None
    inputs = op.make(0)
    got = OPS[op.name](*inputs, backend=backend).float()
    want = op.torch_way(*inputs).float()
    error = float((got - want).norm() / want.norm())
    return None if error <= TOLERANCE else f"wrong: relative error {error:.2e}"


def described(timing: Timing, moved: int, ceilings: Ceilings) -> Line:
    rate = moved / timing.seconds
    return {
        **vars(timing),
        "bytes_per_second": rate,
        "share_of_copy": rate / ceilings.copy_bytes_per_second,
    }
