"""The two rates that floors divide by, on this GPU: a large copy, a large bfloat16 product.

    python -m benchmarks.gpu.ceilings --out FILE

The copy counts bytes read and bytes written; its buffers are many times L2. The product is of
random numbers: zeros run faster than real data.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.gpu.floors import Ceilings
from benchmarks.gpu.record import Record, machine, read_options
from benchmarks.gpu.timing import time_call

COPY_BYTES = 4 << 30
GEMM_SIZES = ((8192, 8192, 8192), (4096, 4096, 4096), (1024, 4864, 896))  # rows, columns, depth


def measure_copy(size: int) -> float:
    """Bytes per second, both ways together."""
    source = torch.empty(size // 4, dtype=torch.float32, device="cuda").normal_()
    target = torch.empty_like(source)
    seconds = time_call(lambda: target.copy_(source)).seconds
    return 2 * source.nbytes / seconds


def measure_gemm(rows: int, columns: int, depth: int) -> float:
    """FLOPs per second of [rows, depth] times [depth, columns] in bfloat16."""
    x, weight = (
        torch.randn(n, depth, dtype=torch.bfloat16, device="cuda") for n in (rows, columns)
    )
    out = torch.empty(rows, columns, dtype=torch.bfloat16, device="cuda")
    seconds = time_call(lambda: torch.mm(x, weight.T, out=out)).seconds
    return 2 * rows * columns * depth / seconds


def measure_ceilings(record: Record) -> Ceilings:
    """Of this process, written down with the machine: every record has its own."""
    torch.manual_seed(0)
    size = min(COPY_BYTES, torch.cuda.mem_get_info()[0] // 4)
    gemm = {"x".join(map(str, shape)): measure_gemm(*shape) for shape in GEMM_SIZES}
    found = Ceilings(measure_copy(size), max(gemm.values()))
    torch.cuda.empty_cache()
    record.add("ceilings", **machine(), **vars(found), gemm=gemm, copy_bytes=size)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options("ceilings", __doc__.partition("\n")[0], arguments)
    measure_ceilings(Record(options))


if __name__ == "__main__":
    main()
