"""What an operation is: one contract with a check, a cost, a reference, and native backends.

`Op.__call__` checks the inputs, picks the backend, allocates the outputs and calls it. Nothing else
picks a backend, and a backend named by the caller never falls back to another.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from t2engine.schema import Cost

PREFERENCE = {"cpu": ("cpp", "torch"), "cuda": ("cuda", "triton", "torch")}


class BackendUnavailableError(RuntimeError):
    """A backend that cannot run here; the message says why in one line."""


@dataclass(frozen=True, eq=False)  # compared and hashed by identity
class Op:
    """One operation.

    native maps a backend to "module:function"; the function takes the outputs, then the inputs as
    `lower` gives them, then (C++ only) the number of threads. lowering holds, for the backends that
    want their inputs in another form, what makes it. "torch" is the reference itself, in the
    inputs' dtype. by_name holds the backends that only a caller who names them gets.
    """

    name: str
    check: Callable[..., None]
    cost: Callable[..., Cost]
    reference: Callable[..., Any]
    outputs: Callable[..., tuple[Tensor, ...]]
    native: Mapping[str, str]
    lowering: Mapping[str, Callable[..., tuple[Any, ...]]] = field(default_factory=dict)
    by_name: tuple[str, ...] = ()

    @property
    def backends(self) -> tuple[str, ...]:
        return (*self.native, "torch")

    def __call__(self, *inputs: Any, backend: str | None = None, threads: int | None = None) -> Any:
        """threads: of the C++ backend; None takes torch.get_num_threads()."""
        self.check(*inputs)
        device = next(x.device.type for x in inputs if isinstance(x, Tensor))
        if backend is None:
            backend = self.pick(device)
        if backend == "torch":
            return self.reference(*inputs)
        function = self.load(backend)
        outputs = self.outputs(*inputs)
        lowered = self.lower(backend, *inputs)
        if backend == "cpp":
            function(*outputs, *lowered, threads or torch.get_num_threads())
        else:
            function(*outputs, *lowered)
        return outputs[0] if len(outputs) == 1 else outputs

    def lower(self, backend: str, *inputs: Any) -> tuple[Any, ...]:
        """The inputs as this backend's function takes them."""
        return self.lowering[backend](*inputs) if backend in self.lowering else inputs

    @functools.cache  # noqa: B019, operations live as long as the process
    def pick(self, device: str) -> str:
        """The first backend of the device's order of preference that can run here."""
        order = [b for b in PREFERENCE.get(device, ("torch",)) if b not in self.by_name]
        return next(name for name in order if self.why_not(name, device) is None)

    def why_not(self, backend: str, device: str = "cpu") -> str | None:
        """Why this backend cannot run on this device here, in one line; None when it can."""
        if backend not in self.backends:
            return f"{self.name} has no {backend} backend"
        if backend == "torch":
            return None
        if (backend == "cpp") != (device == "cpu"):
            return f"{backend} does not run on {device}"
        if backend in ("cuda", "triton") and not torch.cuda.is_available():
            return "no CUDA device"
        try:
            self.load(backend)
        except BackendUnavailableError as error:
            return str(error)
        return why_no_cuda_code() if backend == "cuda" else None

    def load(self, backend: str) -> Callable[..., None]:
        if backend not in self.native:
            raise BackendUnavailableError(
                f"{self.name}: backend must be one of {', '.join(self.backends)}, got {backend!r}"
            )
        return load_function(self.native[backend])


@functools.cache
def load_function(path: str) -> Callable[..., None]:
    """Import "module:function"; BackendUnavailableError says what is missing."""
    module_name, function_name = path.split(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BackendUnavailableError(missing(module_name, error)) from error
    return getattr(module, function_name)


def missing(module_name: str, error: ImportError) -> str:
    if module_name == "t2engine._C":
        return (
            f"the C++ extension is not built ({error}); `make build` or `pip install .` builds it"
        )
    return f"{module_name} cannot be imported: {error}"


def why_no_cuda_code() -> str | None:
    """Why the extension has nothing for the current GPU; None when it has.

    Code for sm_80 runs on every 8.x; code for sm_90a on 9.0 alone.
    """
    built = importlib.import_module("t2engine._C").cuda_architectures
    if not built:
        return "t2engine was built without CUDA: there was no nvcc"
    major, minor = torch.cuda.get_device_capability()
    for name in built:
        code = name.removeprefix("sm_")
        of_major, of_minor = divmod(int(code.rstrip("a")), 10)
        least = of_minor == minor if code.endswith("a") else of_minor <= minor
        if of_major == major and least:
            return None
    return f"the extension has code for {', '.join(built)}, the GPU is of {major}.{minor}"


class Shaped(Protocol):
    """A tensor, or what is stored as several."""

    @property
    def shape(self) -> Sequence[int]: ...


def expect_shape(op: str, **tensors: tuple[Shaped | None, list[int]]) -> None:
    """Raise ValueError naming the first tensor whose shape is not the one wanted."""
    for name, (tensor, shape) in tensors.items():
        if tensor is not None and list(tensor.shape) != shape:
            raise ValueError(f"{op}: {name} must be {shape}, got {list(tensor.shape)}")


def expect_rank(op: str, **tensors: tuple[Shaped, int]) -> None:
    for name, (tensor, rank) in tensors.items():
        if len(tensor.shape) != rank:
            raise ValueError(f"{op}: {name} must have {rank} dimensions, got {list(tensor.shape)}")
