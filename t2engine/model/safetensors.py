"""Where each tensor of a safetensors file lies, and its rows, looked at in the mapped file.

A file is 8 bytes of little-endian header length, that many bytes of JSON, and the data, which the
tensors must cover without a gap or an overlap. Only the rows asked for are mapped, and only while
they are looked at: their pages count as this process's memory, which must not hold the file twice.

Units:  offsets and sizes are in bytes.
Raises: ValueError naming the file, the tensor, what was expected and what was found.
Source: the format's specification, README of huggingface/safetensors.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2engine.model.fields import parse_object, read_fields, show
from t2engine.model.mapping import map_bytes

MAX_HEADER_BYTES = 100_000_000  # the limit of the format's own library
MAX_RANK = 8  # no weight comes near; the product of more would be a way to stall the reader
CHUNK_BYTES = 1 << 22  # looked at and converted at a time
ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
TORCH_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


@dataclass(frozen=True)
class StoredTensor:
    path: Path
    name: str
    dtype: str  # as the header says it: "F32", "BF16", ...
    shape: tuple[int, ...]
    start: int  # from the beginning of the file
    end: int


def read_index(model_dir: Path) -> dict[str, StoredTensor]:
    """Every tensor of a model directory: of model.safetensors, or of the shards its index names."""
    single = model_dir / "model.safetensors"
    index = model_dir / "model.safetensors.index.json"
    if single.is_file():
        return read_header(single)
    if not index.is_file():
        raise ValueError(
            f"{model_dir}: weights must be in model.safetensors or model.safetensors.index.json,"
            " found neither"
        )
    weight_map = read_fields(index).table("weight_map")
    stored: dict[str, StoredTensor] = {}
    headers: dict[str, dict[str, StoredTensor]] = {}
    for name in weight_map.values:
        shard = weight_map.text(name)
        if Path(shard).name != shard or "\0" in shard:
            raise weight_map.fail(name, "the name of a file in the same directory")
        if shard not in headers:
            headers[shard] = read_header(model_dir / shard)
        if name not in headers[shard]:
            raise ValueError(f"{index}: places {show(name)} in {shard}, which does not hold it")
        stored[name] = headers[shard][name]
    return stored


def read_header(path: Path) -> dict[str, StoredTensor]:
    try:
        with path.open("rb") as file:
            file_bytes = os.fstat(file.fileno()).st_size
            header_bytes = int.from_bytes(file.read(8), "little")
            limit = min(MAX_HEADER_BYTES, file_bytes - 8)
            if not 2 <= header_bytes <= limit:
                raise ValueError(
                    f"{path}: truncated or not safetensors: the header must have 2 to {limit}"
                    f" bytes in a file of {file_bytes}, got {header_bytes}"
                )
            header = parse_object(file.read(header_bytes), f"{path}: header")
    except OSError as error:
        raise ValueError(f"{path}: must be a readable file, got {error.strerror}") from error
    header.pop("__metadata__", None)
    data_start = 8 + header_bytes
    stored = [parse_entry(path, name, entry, data_start) for name, entry in header.items()]
    check_coverage(path, stored, data_start, file_bytes)
    return {tensor.name: tensor for tensor in stored}


def parse_entry(path: Path, name: str, entry: Any, data_start: int) -> StoredTensor:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, end]}:
            numbers = [*shape, start, end]
        case _:
            raise ValueError(
                f"{path}: tensor {show(name)} must have dtype, shape and two data_offsets,"
                f" got {show(entry)}"
            )
    sizes = all(type(number) is int and 0 <= number < 2**63 for number in numbers)
    if not sizes or start > end or len(shape) > MAX_RANK:
        raise ValueError(
            f"{path}: tensor {show(name)} must have at most {MAX_RANK} sizes >= 0 and offsets in"
            f" order, got shape {show(shape)} and offsets {show([start, end])}"
        )
    if dtype in ITEM_BYTES and end - start != math.prod(shape) * ITEM_BYTES[dtype]:
        raise ValueError(
            f"{path}: tensor {show(name)} of {dtype} {show(shape)} must have"
            f" {math.prod(shape) * ITEM_BYTES[dtype]} bytes, got {end - start}"
        )
    return StoredTensor(path, name, dtype, tuple(shape), data_start + start, data_start + end)


def check_coverage(path: Path, stored: list[StoredTensor], data_start: int, size: int) -> None:
    """The tensors must tile the data exactly, from its start to the end of the file."""
    position = data_start
    for tensor in sorted(stored, key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != position:
            raise ValueError(
                f"{path}: tensor {show(tensor.name)} must start at byte {position}, where the one"
                f" before it ends, got {tensor.start}"
            )
        position = tensor.end
    if position != size:
        kind = "truncated" if position > size else "has bytes of no tensor at its end"
        raise ValueError(f"{path}: {kind}: expected {position} bytes, got {size}")


def map_rows(tensor: StoredTensor, first_row: int, num_rows: int) -> Tensor:
    """Rows of a stored tensor, in its dtype: the file's own pages wherever they are aligned.

    Shapes: [num_rows, *tensor.shape[1:]]
    """
    assert first_row + num_rows <= tensor.shape[0], f"{tensor.name} has too few rows"
    dtype = TORCH_DTYPES[tensor.dtype]
    row_bytes = math.prod(tensor.shape[1:]) * dtype.itemsize
    start = tensor.start + first_row * row_bytes
    try:
        with tensor.path.open("rb") as file:
            data = map_bytes(file, start, num_rows * row_bytes)
    except OSError as error:
        raise ValueError(f"{tensor.path}: must be readable, got {error.strerror}") from error
    if data is None:
        raise ValueError(f"{tensor.path}: ended inside tensor {tensor.name}")
    if start % dtype.itemsize:
        data = data.clone()
    return data.view(dtype).view(num_rows, *tensor.shape[1:])


def read_rows(tensor: StoredTensor, first_row: int, out: Tensor) -> None:
    """Fill `out` with as many rows as it has, starting at `first_row`, converted to its dtype.

    Shapes: out [rows, *tensor.shape[1:]].
    """
    assert tuple(out.shape[1:]) == tensor.shape[1:], f"{tensor.name}: {tuple(out.shape)}"
    row_bytes = math.prod(tensor.shape[1:]) * ITEM_BYTES[tensor.dtype]
    at_once = max(1, CHUNK_BYTES // max(1, row_bytes))
    for row in range(0, out.shape[0], at_once):
        part = out[row : row + at_once]
        part.copy_(map_rows(tensor, first_row + row, part.shape[0]))


def same_bytes(a: StoredTensor, b: StoredTensor) -> bool:
    """Whether two stored tensors are equal, without holding either."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    with a.path.open("rb") as file_a, b.path.open("rb") as file_b:
        file_a.seek(a.start)
        file_b.seek(b.start)
        for left in range(a.end - a.start, 0, -CHUNK_BYTES):
            count = min(CHUNK_BYTES, left)
            if file_a.read(count) != file_b.read(count):
                return False
    return True
