"""A model's weights as the kernels read them, kept in a file beside the model and mapped.

    head      three lines of JSON: what the format is, what it was made from, what it holds;
              blanks fill it up to a multiple of 4096
    data      the tensors, each at a multiple of 64; zeros fill it up likewise
    sums      one 64-bit number for each 4096 bytes of data

The head follows from the model's files alone, so it is compared, never interpreted, and so are the
sums: no byte of the file decides where anything is read. They find accidents (a cut or torn file, a
flipped bit), not a forger, who could as well change the weights themselves.

The file belongs to one state of the model's files: their names, sizes and times of change, the
shape of the model, and some bytes of every tensor. It is replaced as a whole, so that a process
that uses the old one is not disturbed, and never written in place (mapping.py says why).

Units:  bytes.
Raises: ValueError when the file cannot be written.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2engine.model.exclusive_file import exclusive_file
from t2engine.model.mapping import map_bytes
from t2engine.model.transformer import EMBED_DTYPES, WEIGHT_DTYPES
from t2engine.model.weights import WeightFiles, Weights
from t2engine.ops import PANEL, QUAD, PackedWeight, packed_shapes

VERSION = 1
PAGE_BYTES = 4096
READ_BYTES = 1 << 21  # of data, read and summed at a time: stays in a core's cache
ALIGNMENT = 64  # a cache line, and the widest register
SAMPLE_BYTES = 256  # of each stored tensor, at its beginning, middle and end
PAGE_MARK = 0x9E3779B97F4A7C15  # odd: what page i's sum starts from is i + 1 times this, never 0
SCALES = ".scales"  # of a weight, after its name
WRONG_LINE = (
    "is of another version of the format",
    "was made from other weights",
    "is damaged",
)


class UnusableError(Exception):
    """The file is there, but not what it should be; the message says what it is instead."""


@dataclass(frozen=True)
class Entry:
    """A tensor of the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int  # in the data

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Layout:
    """What the file must be, byte for byte but for the data and the sums."""

    lines: tuple[bytes, ...]
    entries: dict[str, Entry]

    @property
    def data_start(self) -> int:
        return sum(map(len, self.lines))

    @property
    def data_bytes(self) -> int:
        return round_up(max(e.start + e.bytes for e in self.entries.values()), PAGE_BYTES)

    @property
    def sums_start(self) -> int:
        return self.data_start + self.data_bytes


@dataclass(frozen=True)
class PackedFile(Weights):
    """The weights of a mapped file: every tensor is the file's own pages."""

    files: WeightFiles
    entries: dict[str, Entry]
    data: Tensor  # [data_bytes] uint8

    @property
    def names(self) -> tuple[str, ...]:
        return self.files.names

    @property
    def mapped_bytes(self) -> int:
        return self.data.nbytes

    def load(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        entry = self.entries[name]
        assert entry.dtype == dtype, f"{name} is held as {entry.dtype}"
        return self.data[entry.start : entry.start + entry.bytes].view(dtype).view(entry.shape)

    def load_packed(self, name: str, dtype: torch.dtype, threads: int) -> PackedWeight:
        N, K = self.files.shape(name)
        scales = self.load(name + SCALES) if dtype == torch.int8 else None
        return PackedWeight(self.load(name, dtype), N, K, scales)


def open_packed(files: WeightFiles, dtype: str, threads: int) -> PackedFile:
    """The packed weights, from the file beside the model; it is made where there is none.

    dtype: how the weights are held, as in LLM. A file that does not fit is replaced, with a
    warning that says why.
    """
    path = files.model_dir / f"t2engine-{dtype}.packed"
    layout = plan_layout(files, dtype)
    try:
        return read(path, files, layout, threads)
    except FileNotFoundError:
        pass
    except UnusableError as error:
        warnings.warn(f"{path} {error}: the weights are packed again", stacklevel=3)
    partial = path.with_suffix(".packed.partial")
    try:
        with exclusive_file(partial) as file:
            try:
                return read(path, files, layout, threads)  # another process may have made it
            except (FileNotFoundError, UnusableError):
                data = write(file, files, layout, dtype, threads)
            if plan_layout(files, dtype) != layout:
                raise ValueError(f"{files.model_dir}: the weights changed while they were packed")
            os.replace(partial, path)
    except OSError as error:
        raise ValueError(
            f"{path}: the packed weights must be writable there, got {error.strerror}; load"
            " without packed_cache, or from a directory with room that can be written"
        ) from error
    return PackedFile(files, layout.entries, data)


def read(path: Path, files: WeightFiles, layout: Layout, threads: int) -> PackedFile:
    """Map and check. Raises: FileNotFoundError, UnusableError."""
    if path.exists() and not path.is_file():
        raise UnusableError("is not a file")
    try:
        with path.open("rb") as file:
            for line, wrong in zip(layout.lines, WRONG_LINE, strict=True):
                if file.read(len(line)) != line:
                    raise UnusableError(wrong)
            data = map_bytes(file, layout.data_start, layout.data_bytes)
            file.seek(layout.sums_start)
            sums = file.read(layout.data_bytes // PAGE_BYTES * 8 + 1)  # one more is one too many
            if data is None or sums != page_sums(file, layout, threads):
                raise UnusableError("is damaged")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnusableError(f"cannot be read ({error.strerror})") from error
    return PackedFile(files, layout.entries, data)


def write(file: IO[bytes], files: WeightFiles, layout: Layout, dtype: str, threads: int) -> Tensor:
    """Fill an empty file and map its data; one weight at a time is in memory of its own.

    Nothing is forced to the disk: what a crash of the machine leaves undone, the sums show.
    """
    file.write(b"".join(layout.lines))
    for name, tensor in pack(files, layout, WEIGHT_DTYPES[dtype], threads):
        file.seek(layout.data_start + layout.entries[name].start)
        file.write(tensor.view(-1).view(torch.uint8).numpy().data)
    file.truncate(layout.sums_start)  # and flush
    data = map_bytes(file, layout.data_start, layout.data_bytes)
    if data is None:
        raise OSError(None, "the file was cut short by another process")
    file.seek(layout.sums_start)
    file.write(page_sums(file, layout, threads))
    file.flush()
    return data


def pack(
    files: WeightFiles, layout: Layout, dtype: torch.dtype, threads: int
) -> Iterator[tuple[str, Tensor]]:
    for name, entry in layout.entries.items():
        if name.endswith(SCALES):
            continue  # comes with its weight
        if not is_packed(name, files):
            yield name, files.load(name, entry.dtype)
            continue
        weight = files.load_packed(name, dtype, threads)
        yield name, weight.panels
        if weight.scales is not None:
            yield name + SCALES, weight.scales


def plan_layout(files: WeightFiles, dtype: str) -> Layout:
    entries: dict[str, Entry] = {}
    end = 0
    for name, kind, shape in tensors(files, dtype):
        entries[name] = Entry(kind, shape, round_up(end, ALIGNMENT))
        end = entries[name].start + entries[name].bytes
    what = {
        "format": "t2engine packed weights",
        "version": VERSION,
        "layout": [PANEL, QUAD, PAGE_BYTES, ALIGNMENT, sys.byteorder],
        "weights": dtype,
    }
    table = {name: [str(e.dtype), e.shape, e.start] for name, e in entries.items()}
    form, made_from, holds = (json.dumps(x).encode() for x in (what, identity(files), table))
    blanks = -(len(form) + len(made_from) + len(holds) + 3) % PAGE_BYTES
    lines = (form + b"\n", made_from + b"\n", holds + b" " * blanks + b"\n")
    return Layout(lines, entries)


def tensors(files: WeightFiles, dtype: str) -> Iterator[tuple[str, torch.dtype, tuple[int, ...]]]:
    """What Transformer asks for: name, dtype and shape."""
    for name in files.names:
        shape = files.shape(name)
        if is_packed(name, files):
            N, K = shape
            panels, scales = packed_shapes(N, K, WEIGHT_DTYPES[dtype])
            yield name, WEIGHT_DTYPES[dtype], panels
            if scales is not None:
                yield name + SCALES, torch.float32, scales
        elif name != "embed":
            yield name, torch.float32, shape
        elif files.recipes["embed"].sources != files.recipes["lm_head"].sources:
            yield name, EMBED_DTYPES[dtype], shape  # a tied one is read out of lm_head


def is_packed(name: str, files: WeightFiles) -> bool:
    return name != "embed" and len(files.shape(name)) == 2


def identity(files: WeightFiles) -> dict[str, object]:
    """What the weights are made of, and how to tell that it has changed."""
    paths = sorted({tensor.path for tensor in files.stored.values()})
    states = [(path.name, path.stat()) for path in paths]
    digest = hashlib.sha256(repr([*files.recipes.values()]).encode())
    for name, tensor in sorted(files.stored.items()):
        digest.update(repr((name, tensor.dtype, tensor.shape, tensor.start)).encode())
        with tensor.path.open("rb", buffering=0) as file:
            for at in (tensor.start, (tensor.start + tensor.end) // 2, tensor.end - SAMPLE_BYTES):
                file.seek(max(tensor.start, at))
                digest.update(file.read(min(SAMPLE_BYTES, tensor.end - file.tell())))
    return {
        "files": [[name, state.st_size, state.st_mtime_ns] for name, state in states],
        "sha256": digest.hexdigest(),
    }


def page_sums(file: IO[bytes], layout: Layout, threads: int) -> bytes:
    """A sum for each page of the data, of its 64-bit words and its number: 8 bytes each.

    The data is read, not looked at where it is mapped: from a disk that is several times faster.
    """

    def sums(start: int) -> NDArray[np.uint64]:
        words = np.zeros(min(READ_BYTES, layout.data_bytes - start) // 8, np.uint64)
        os.preadv(file.fileno(), [words.data], layout.data_start + start)
        first = start // PAGE_BYTES + 1
        marks = np.arange(first, first + len(words) * 8 // PAGE_BYTES, dtype=np.uint64)
        found: NDArray[np.uint64] = words.reshape(-1, PAGE_BYTES // 8).sum(axis=1)
        return found + marks * np.uint64(PAGE_MARK)

    with ThreadPoolExecutor(threads) as pool:
        return b"".join(
            x.tobytes() for x in pool.map(sums, range(0, layout.data_bytes, READ_BYTES))
        )


def round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
