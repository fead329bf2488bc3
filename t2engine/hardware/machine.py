"""What this machine is and which backends can run on it: plain data for `t2 doctor` and records."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

from t2engine import __version__
from t2engine.engine.memory import available_bytes
from t2engine.ops import OPS

PACKAGES = ("torch", "numpy", "scipy", "triton", "tokenizers", "safetensors")


def examine() -> dict[str, Any]:
    return {
        "t2engine": __version__,
        "python": platform.python_version(),
        "packages": {name: installed_version(name) for name in PACKAGES},
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_available_bytes": available_bytes(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "extension": examine_extension(),
        "operations": {
            op.name: {
                "cpu": op.pick("cpu"),
                "backends": {backend: why_not(op.name, backend) for backend in op.backends},
            }
            for op in OPS.values()
        },
    }


def examine_extension() -> dict[str, Any] | None:
    """The compiled extension's instruction sets; None when it is not built."""
    try:
        native = importlib.import_module("t2engine._C")
    except ImportError:
        return None
    return {
        "version": native.__version__,
        "built_isas": list(native.built_isas),
        "supported_isas": list(native.supported_isas),
        "chosen_isa": native.supported_isas[0],
        "cuda_architectures": list(native.cuda_architectures),
    }


def why_not(op_name: str, backend: str) -> str | None:
    """Why a backend cannot run on the device it is for; None when it can."""
    device = "cuda" if backend in ("cuda", "triton") else "cpu"
    return OPS[op_name].why_not(backend, device)


def installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def is_virtual(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Whether a host runs other machines beside this one; None where the system does not say."""
    if not cpuinfo.exists():
        return None
    flags = (line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    return "hypervisor" in next(flags, "").split()
