"""A part of a file as a tensor, without reading it: its pages come when they are looked at.

They are the page cache's own, shared with every process that maps the file, and go when the last
tensor over them does. A tensor can be written to without changing the file.

Lengths are checked when a part is mapped. Nobody can check them afterwards: a file that is cut
short under a living tensor ends the process (SIGBUS) where a plain read would have failed. So what
is mapped for long must be a file that is only ever replaced, never rewritten in place.
"""

from __future__ import annotations

import mmap
import os
from typing import IO

import torch
from torch import Tensor


def map_bytes(file: IO[bytes], start: int, count: int) -> Tensor | None:
    """Bytes start to start + count of an open file [count] uint8; None where it ends before.

    Raises: OSError.
    """
    if os.fstat(file.fileno()).st_size < start + count:
        return None
    if count == 0:
        return torch.empty(0, dtype=torch.uint8)
    offset = start % mmap.ALLOCATIONGRANULARITY
    # A copy on write, so that torch may hand out a tensor that can be written to.
    pages = mmap.mmap(file.fileno(), offset + count, access=mmap.ACCESS_COPY, offset=start - offset)
    return torch.frombuffer(pages, dtype=torch.uint8, count=count, offset=offset)
