"""What LLM opens: where a model runs, and in which types; refused before any weight is read.

Raises: ValueError naming the argument, what it must be and what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from t2engine.engine.forward import Runtime
from t2engine.engine.intake import require
from t2engine.engine.memory import MemoryPlan, available_bytes
from t2engine.engine.native import choose_runtime, supported_instruction_sets
from t2engine.engine.requests import Request
from t2engine.engine.run import Run
from t2engine.engine.sampling import can_run_ahead
from t2engine.model.packed_file import open_packed
from t2engine.model.tokenizer import Tokenizer
from t2engine.model.transformer import Transformer
from t2engine.model.weights import WeightFiles
from t2engine.ops import slab_attention
from t2engine.schema import ModelConfig, Precision

DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
CACHE_DTYPES = ("auto", "float32", "bfloat16", "int8")
DEVICES = ("auto", "cpu", "cuda")
ON_A_GPU = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Opening:
    """How a model is to be held and run; the fields are LLM's arguments."""

    device: str
    dtype: str
    kv_cache_dtype: str
    threads: int | None
    instruction_set: str
    packed_cache: bool
    invariant: bool

    def check(self) -> None:
        for name, choices in (
            ("device", DEVICES),
            ("dtype", DTYPES),
            ("kv_cache_dtype", CACHE_DTYPES),
        ):
            value = getattr(self, name)
            require(value in choices, f"{name} must be one of {', '.join(choices)}, got {value!r}")
        threads = self.threads
        require(threads is None or threads >= 1, f"threads must be at least 1, got {threads}")
        sets = ("auto", *supported_instruction_sets())
        require(
            self.instruction_set in sets,
            f"instruction_set must be one of {', '.join(sets)} on this machine, "
            f"got {self.instruction_set!r}",
        )
        if self.device == "cuda":
            reason = self.why_not_cuda()
            require(reason is None, reason or "")

    def why_not_cuda(self) -> str | None:
        """Why the model cannot be held on a GPU as it is to be; None when it can."""
        if not torch.cuda.is_available():
            return "device must be cpu or auto where torch finds no NVIDIA GPU, got 'cuda'"
        major, minor = torch.cuda.get_device_capability()
        if major < 8:
            return f"device must be a GPU of compute capability 8.0 or newer, got {major}.{minor}"
        if slab_attention.pick("cuda") == "torch":
            reasons = (slab_attention.why_not(name, "cuda") for name in ("cuda", "triton"))
            return f"device 'cuda' has no kernels to run: {'; '.join(map(str, reasons))}"
        if self.dtype not in ON_A_GPU:
            return f"dtype must be one of {', '.join(ON_A_GPU)} on a GPU, got {self.dtype!r}"
        if self.kv_cache_dtype not in ("auto", self.dtype):
            return (
                "kv_cache_dtype must be auto or the dtype of the weights on a GPU, "
                f"got {self.kv_cache_dtype!r}"
            )
        if self.instruction_set != "auto" or self.packed_cache:
            return "instruction_set and packed_cache are of the CPU's kernels; leave them out"
        return None

    def on_gpu(self) -> bool:
        return self.device != "cpu" and self.why_not_cuda() is None

    def precision(self, stored: str) -> Precision:
        """stored: the dtype of the files."""
        weights = stored if self.dtype == "auto" else self.dtype
        cache = weights if self.on_gpu() else "float32"
        return Precision(weights, cache if self.kv_cache_dtype == "auto" else self.kv_cache_dtype)

    def free_bytes(self) -> int:
        """Before the weights are there."""
        return torch.cuda.mem_get_info()[0] if self.on_gpu() else available_bytes()

    def runtime(self, config: ModelConfig, files: WeightFiles, precision: Precision) -> Runtime:
        if self.on_gpu():
            # Imported where there is a GPU alone: they bring in a good part of torch.
            from t2engine.engine.device import DeviceRuntime
            from t2engine.model.device_model import DeviceModel

            device = torch.device("cuda", torch.cuda.current_device())
            return DeviceRuntime(
                DeviceModel(config, files, device, precision.weights, self.invariant)
            )
        threads = self.threads or torch.get_num_threads()
        source = open_packed(files, precision.weights, threads) if self.packed_cache else files
        return choose_runtime(Transformer(config, source, threads, precision), self.instruction_set)


def open_run(
    runtime: Runtime, tokenizer: Tokenizer, requests: Sequence[Request], plan: MemoryPlan
) -> Run:
    """On a device, the loop that does not wait for the host, unless a request needs it to."""
    if runtime.runs_ahead and all(can_run_ahead(request.params) for request in requests):
        from t2engine.engine.device import DeviceRuntime
        from t2engine.engine.device_run import DeviceRun

        assert isinstance(runtime, DeviceRuntime)
        return DeviceRun(runtime, tokenizer, requests, plan)
    return Run(runtime, tokenizer, requests, plan)
