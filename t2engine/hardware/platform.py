"""What can be calibrated: this machine's processors, or its NVIDIA GPU. How each is probed, timed
and asked for, behind one interface.

Units:  bytes; seconds.
Raises: ValueError for a device or a precision that cannot be measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch

from t2engine.costs.ladder import ladder_shape
from t2engine.costs.measurements import show_precision
from t2engine.costs.steps import Step
from t2engine.engine.device import DEVICE_CHUNK_TOKENS
from t2engine.engine.device_stage import BUCKETS
from t2engine.engine.memory import CHUNK_TOKENS, available_bytes
from t2engine.engine.opening import Opening
from t2engine.hardware.design import FULL, GPU_FULL, GPU_QUICK, QUICK, Effort
from t2engine.hardware.device_probes import device_probes
from t2engine.hardware.device_steps import DeviceSteps, random_device_model
from t2engine.hardware.host import sample_task
from t2engine.hardware.load import BUSY, gpu_load
from t2engine.hardware.native_steps import NativeSteps, StoreMemory, Window, random_model
from t2engine.hardware.probes import Probe, cpu_probes
from t2engine.hardware.training_steps import TrainingBench, check_device
from t2engine.metering import parameter_count, weight_bytes
from t2engine.schema import ModelConfig, Precision

PRECISIONS = {
    "cpu": (
        Precision("float32", "float32"),
        Precision("bfloat16", "float32"),
        Precision("int8", "float32"),
        Precision("int8", "int8"),
    ),
    "cuda": (
        Precision("bfloat16", "bfloat16"),
        Precision("float16", "float16"),
        Precision("float32", "float32"),
    ),
}
CPU_SHARE, GPU_SHARE = 0.5, 0.8  # of what is free, for models and stores
TRAINED_BYTES = 20  # of a parameter: weights, gradients, moments, and activations a little


class StepBench(Protocol):
    """A model on which steps are timed."""

    def seconds(self, step: Step) -> float: ...

    def repeat(self, step: Step, seconds: float, window: Window) -> int:
        """Such steps for about so long at least, alone in the window; how many."""


class Platform(Protocol):
    """memory_bytes: free when the platform was made. threads: of the processors."""

    name: str  # "cpu" or "cuda"
    threads: int
    effort: Effort
    memory_bytes: int
    share_of_memory: float
    chunk_tokens: int
    row_buckets: tuple[int, ...]

    def needed_bytes(self, effort: Effort, precisions: tuple[Precision, ...]) -> int: ...

    def machine(self) -> dict[str, Any]:
        """What a profile says of the machine in this platform's own way."""

    def probes(self, dtypes: tuple[str, ...]) -> Iterator[Probe]: ...

    def steps(self, config: ModelConfig, precision: Precision, most_samples: int) -> StepBench: ...

    def training(self, config: ModelConfig) -> TrainingBench: ...

    def sample_task(self) -> Callable[[], float]: ...


class CpuPlatform:
    name = "cpu"
    share_of_memory = CPU_SHARE
    chunk_tokens = CHUNK_TOKENS
    row_buckets: tuple[int, ...] = ()

    def __init__(self, effort: Effort, threads: int) -> None:
        self.effort, self.threads = effort, threads
        self.memory_bytes = available_bytes()
        self.memories: dict[str, StoreMemory] = {}  # one for all models, by type of cache

    def needed_bytes(self, effort: Effort, precisions: tuple[Precision, ...]) -> int:
        stores = effort.store_bytes * len({precision.cache for precision in precisions})
        return weights_in_all(effort, precisions) + stores

    def machine(self) -> dict[str, Any]:
        return {"memory_available_bytes": self.memory_bytes}

    def probes(self, dtypes: tuple[str, ...]) -> Iterator[Probe]:
        return cpu_probes(dtypes, self.threads)

    def steps(self, config: ModelConfig, precision: Precision, most_samples: int) -> NativeSteps:
        cache = precision.cache
        if cache not in self.memories:
            self.memories[cache] = StoreMemory(self.effort.store_bytes, cache)
        model = random_model(config, precision, self.threads)
        return NativeSteps(model, self.memories[cache], most_samples)

    def training(self, config: ModelConfig) -> TrainingBench:
        return TrainingBench(config, "cpu", self.threads)

    def sample_task(self) -> Callable[[], float]:
        return sample_task(self.threads)


class DevicePlatform:
    """An NVIDIA GPU; on the CPU's tensors in tests, where torch's operations stand in."""

    share_of_memory = GPU_SHARE
    chunk_tokens = DEVICE_CHUNK_TOKENS
    row_buckets: tuple[int, ...] = BUCKETS

    def __init__(self, effort: Effort, threads: int, device: torch.device) -> None:
        self.effort, self.threads, self.device = effort, threads, device
        self.name = device.type
        self.memory_bytes = free_bytes(device)

    def needed_bytes(self, effort: Effort, precisions: tuple[Precision, ...]) -> int:
        """Each model has stores of its own; those in training are there as well."""
        stores = effort.store_bytes * len(effort.shapes) * len(precisions)
        trained = sum(parameter_count(ladder_shape(*shape)) for shape in effort.training_shapes)
        return weights_in_all(effort, precisions) + stores + TRAINED_BYTES * trained

    def machine(self) -> dict[str, Any]:
        return {
            "memory_available_bytes": self.memory_bytes,
            "host_memory_available_bytes": available_bytes(),
        }

    def probes(self, dtypes: tuple[str, ...]) -> Iterator[Probe]:
        return device_probes(dtypes, self.device)

    def steps(self, config: ModelConfig, precision: Precision, most_samples: int) -> DeviceSteps:
        runtime = random_device_model(config, self.device, precision.weights)
        return DeviceSteps(runtime, most_samples, self.effort.store_bytes)

    def training(self, config: ModelConfig) -> TrainingBench:
        return TrainingBench(config, self.device.type, self.threads)

    def sample_task(self) -> Callable[[], float]:
        return sample_task(self.threads, self.device.type)


def choose_platform(
    device: str, precisions: tuple[Precision, ...], threads: int, quick: bool
) -> Platform:
    """Raises: ValueError for a device that is not there, and a precision that it does not have."""
    check_device(device)
    for precision in precisions:
        reason = why_not(device, precision)
        if reason is not None:
            raise ValueError(f"precision {show_precision(precision)}: {reason}")
    if device == "cpu":
        return CpuPlatform(QUICK if quick else FULL, threads)
    index = torch.cuda.current_device()
    return DevicePlatform(GPU_QUICK if quick else GPU_FULL, threads, torch.device("cuda", index))


def default_precisions(device: str, quick: bool) -> tuple[Precision, ...]:
    check_device(device)
    return PRECISIONS[device][: 1 if quick else None]


def why_not(device: str, precision: Precision) -> str | None:
    """Why models of this precision cannot be measured there; None when they can."""
    on_cpu = device == "cpu"
    caches = ("float32", "bfloat16", "int8") if on_cpu else (precision.weights,)
    if precision.cache not in caches:
        return f"the cache must be {' or '.join(caches)} on {device}"
    opening = Opening(device, precision.weights, precision.cache, None, "auto", False, False)
    return None if on_cpu else opening.why_not_cuda()


def device_load(device: str) -> dict[str, Any] | None:
    """Who else uses the device, before it is used here; None where the processors' load says it."""
    if device == "cpu":
        return None
    found, reason = gpu_load()
    if found is None:
        return {"utilisation": None, "others": None, "reason": reason}
    return {"utilisation": found.utilisation, "others": found.others, "reason": None}


def why_device_busy(load: Mapping[str, Any] | None) -> str | None:
    """What others do on the device, where it is too much to measure beside; None where not.

    A process that only holds memory there slows nothing.
    """
    if load is None or load["reason"] is not None or load["utilisation"] <= BUSY:
        return None
    return (
        f"the GPU had a kernel running for {load['utilisation']:.0%} of the last second, and "
        f"{load['others']} other processes use it"
    )


def weights_in_all(effort: Effort, precisions: tuple[Precision, ...]) -> int:
    configs = [ladder_shape(*shape) for shape in effort.shapes]
    return sum(weight_bytes(c, precision) for c in configs for precision in precisions)


def free_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return available_bytes()
    return torch.cuda.mem_get_info(device)[0]
