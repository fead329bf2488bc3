"""Memory in pages of 2 MiB, for what is read once a step: weights, keys and values.

Such reads run at the speed of memory, and with pages of 4 KiB an eighth to a quarter of that goes
into finding the next page. Linux gives large pages to aligned memory that asks for them, where it
has them; elsewhere this is plain memory.
"""

from __future__ import annotations

import ctypes
import math
import sys

import torch
from torch import Tensor

HUGE_PAGE = 2 << 20  # bytes
CHUNK = 32 * HUGE_PAGE
ALIGNMENT = 64  # bytes, a cache line
MADV_HUGEPAGE = 14  # madvise(2)


def huge_bytes(size: int) -> Tensor:
    """`size` bytes of uninitialised memory [size] uint8, from a large page's boundary on."""
    whole = -(-size // HUGE_PAGE) * HUGE_PAGE
    memory = torch.empty(whole + HUGE_PAGE, dtype=torch.uint8)
    start = -memory.data_ptr() % HUGE_PAGE
    if sys.platform == "linux" and size >= HUGE_PAGE:
        # A refusal changes nothing but speed.
        address = ctypes.c_void_p(memory.data_ptr() + start)
        ctypes.CDLL(None).madvise(address, ctypes.c_size_t(whole), MADV_HUGEPAGE)
    return memory[start : start + size]


def huge_empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """torch.empty in large pages."""
    return huge_bytes(math.prod(shape) * dtype.itemsize).view(dtype).view(shape)


class Arena:
    """Hands out tensors side by side, so that large pages are full. Nothing is given back."""

    def __init__(self) -> None:
        self.free = torch.empty(0, dtype=torch.uint8)
        self.given = 0  # bytes

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        size = math.prod(shape) * dtype.itemsize
        taken = -(-size // ALIGNMENT) * ALIGNMENT
        if taken > len(self.free):
            self.free = huge_bytes(max(taken, min(CHUNK, 2 * self.given)))
        self.given += taken
        memory, self.free = self.free[:size], self.free[taken:]
        return memory.view(dtype).view(shape)
