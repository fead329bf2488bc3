"""The GPU that CUDA calls by a number, in NVIDIA's management library (NVML).

CUDA numbers the GPUs that a process may use, NVML all of the machine's, each in its own order. So
they are matched by UUID, which torch knows of CUDA's device.

Source: NVIDIA, NVML API reference, `nvmlDeviceGetHandleByUUID`; CUDA C++ programming guide, "CUDA
        environment variables": CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER renumber.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gpu:
    nvml: Any  # the module pynvml, or what stands in for it
    handle: Any
    name: str


def find_gpu(
    index: int | None, *, uuid: str | None = None, nvml: Any = None
) -> tuple[Gpu | None, str | None]:
    """CUDA's device `index` (None: the current one), or None and why there is none to read.

    uuid: as `nvidia-smi -L` prints it; torch is imported and asked for it where it is None.
    """
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return None, "pynvml is not installed: pip install 't2engine[gpu]'"
    if uuid is None:
        uuid, reason = cuda_uuid(index)
        if uuid is None:
            return None, reason
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        return Gpu(nvml, handle, nvml.nvmlDeviceGetName(handle)), None
    except nvml.NVMLError as error:
        return None, f"NVML finds no GPU {uuid}: {error}"


def cuda_uuid(index: int | None) -> tuple[str | None, str | None]:
    import torch

    if not torch.cuda.is_available():
        return None, "torch finds no NVIDIA GPU"
    count = torch.cuda.device_count()
    if index is None:
        index = torch.cuda.current_device()
    if index >= count:
        return None, f"there is no cuda:{index}: torch finds {count} NVIDIA GPUs, numbered from 0"
    bare = str(torch.cuda.get_device_properties(index).uuid)
    return f"GPU-{bare.removeprefix('GPU-')}", None
