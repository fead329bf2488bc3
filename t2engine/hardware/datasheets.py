"""What the makers of GPUs say they reach: dense bfloat16 in the tensor cores, and memory.

Figures of datasheets that count 2:4 sparsity are halved. Processors have no such figures here: what
one reaches depends on its clock, its memory modules and their number.

Units:  FLOPs (two a multiply-add) and bytes, per second.
"""

from __future__ import annotations

from dataclasses import dataclass

TERA, GIGA = 1e12, 1e9


@dataclass(frozen=True)
class Datasheet:
    name: str
    words: tuple[str, ...]  # that are all in the name by which the driver calls the device
    flops_per_second: float
    bytes_per_second: float


# In the order in which names are looked at: a name with more words comes first.
DATASHEETS = (
    # NVIDIA H200 Tensor Core GPU datasheet, H200 SXM: 1,979 TFLOPS with sparsity, 4.8 TB/s.
    Datasheet("H200 SXM", ("H200",), 989.5 * TERA, 4800 * GIGA),
    # NVIDIA H100 Tensor Core GPU datasheet, H100 PCIe: 1,513 TFLOPS with sparsity, 2 TB/s.
    Datasheet("H100 PCIe", ("H100", "PCIe"), 756.5 * TERA, 2000 * GIGA),
    # The same, H100 SXM: 1,979 TFLOPS with sparsity, 3.35 TB/s. Its driver's name ends in HBM3.
    Datasheet("H100 SXM", ("H100", "80GB", "HBM3"), 989.5 * TERA, 3350 * GIGA),
    # NVIDIA A100 80GB datasheet: 312 TFLOPS dense; SXM 2,039 GB/s, PCIe 1,935 GB/s.
    Datasheet("A100 80GB SXM", ("A100", "SXM", "80GB"), 312 * TERA, 2039 * GIGA),
    Datasheet("A100 80GB PCIe", ("A100", "PCIe", "80GB"), 312 * TERA, 1935 * GIGA),
    # NVIDIA A100 40GB datasheet: 312 TFLOPS dense, 1,555 GB/s, SXM and PCIe.
    Datasheet("A100 40GB", ("A100", "40GB"), 312 * TERA, 1555 * GIGA),
    # NVIDIA L4 datasheet: 242 TFLOPS with sparsity, 300 GB/s.
    Datasheet("L4", ("L4",), 121 * TERA, 300 * GIGA),
    # NVIDIA Ada GPU architecture whitepaper, appendix A: 165.2 TFLOPS dense with sums in FP32,
    # 1,008 GB/s.
    Datasheet("RTX 4090", ("RTX", "4090"), 165.2 * TERA, 1008 * GIGA),
)


def find_datasheet(device: str) -> Datasheet | None:
    """By the driver's name, such as "NVIDIA H100 80GB HBM3"; None for any other device."""
    words = device.upper().replace("-", " ").replace("SXM4", "SXM").replace("SXM5", "SXM").split()
    if "NVIDIA" not in words or "LAPTOP" in words:
        return None
    return next((d for d in DATASHEETS if {w.upper() for w in d.words} <= set(words)), None)
