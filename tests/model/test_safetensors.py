from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from t2engine.model.config import read_config
from t2engine.model.safetensors import CHUNK_BYTES, read_header, read_index, read_rows
from t2engine.model.weights import open_weights
from tests.model.tiny import write_tiny_model

PAIR = {"a": ("F32", [2, 2], [0, 16]), "b": ("BF16", [4], [16, 24])}
DATA_BYTES = 24


def write_raw(path: Path, header: object, data_bytes: int = DATA_BYTES) -> Path:
    """A safetensors file with any header; an object of tuples is spelled out first."""
    if isinstance(header, dict):
        header = {
            name: dict(zip(("dtype", "shape", "data_offsets"), entry, strict=False))
            if isinstance(entry, tuple)
            else entry
            for name, entry in header.items()
        }
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(data_bytes))
    return path


def test_header_of_two_tensors(tmp_path):
    path = write_raw(tmp_path / "x", PAIR | {"__metadata__": {"format": "pt"}})
    header = read_header(path)
    assert set(header) == {"a", "b"}
    assert header["b"].shape == (4,)
    assert header["b"].end == path.stat().st_size


@pytest.mark.parametrize("num_rows", [1, 2, CHUNK_BYTES // 2 // 8 + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_rows_can_be_read(tmp_path, dtype, num_rows):
    """Also rows that are converted in more than one chunk."""
    values = torch.randn(num_rows + 2, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    save_file({"first": torch.ones(3, dtype=dtype), "values": values}, tmp_path / "x")
    out = torch.full((num_rows, 8), torch.nan)
    read_rows(read_header(tmp_path / "x")["values"], 1, out)
    assert torch.equal(out, values[1:-1].float())


def test_a_file_cut_after_its_header_was_read(tmp_path):
    save_file({"values": torch.ones(100)}, tmp_path / "x")
    tensor = read_header(tmp_path / "x")["values"]
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:-1])
    with pytest.raises(ValueError, match="ended inside tensor values"):
        read_rows(tensor, 0, torch.empty(100))


BAD_HEADERS = {
    "not json": (b"{nonsense", "header: must be a JSON object"),
    "not an object": ([1, 2], "header: must be a JSON object"),
    "not utf-8": (b"\xff\xff\xff", "header: must be a JSON object"),
    "nested": (b"[" * 100_000, "header: must be a JSON object"),
    "entry not an object": ({"a": 3}, '"a" must have dtype, shape and two data_offsets, got 3'),
    "no offsets": ({"a": ("F32", [6])}, '"a" must have dtype'),
    "three offsets": ({"a": ("F32", [6], [0, 12, 24])}, '"a" must have dtype'),
    "dtype not text": ({"a": (32, [6], [0, 24])}, '"a" must have dtype'),
    "negative size": ({"a": ("F32", [-6], [0, 24])}, r"sizes >= 0.*\[-6\]"),
    "fractional size": ({"a": ("F32", [6.0], [0, 24])}, r"sizes >= 0.*\[6\.0\]"),
    "true as a size": ({"a": ("F32", [True], [0, 24])}, "sizes >= 0"),
    "huge size": ({"a": ("F32", [2**64], [0, 24])}, "sizes >= 0"),
    "huge rank": ({"a": ("F32", [2] * 1000, [0, 24])}, "at most 8 sizes"),
    "backward offsets": ({"a": ("F32", [6], [24, 0])}, "offsets in order"),
    "wrong bytes": ({"a": ("F32", [5], [0, 24])}, "must have 20 bytes, got 24"),
    "beyond the end": ({"a": ("F32", [7], [0, 28])}, "truncated: expected .* bytes, got"),
    "far beyond": ({"a": ("F32", [2**60], [0, 2**62])}, "truncated"),
    "overlap": (PAIR | {"c": ("F32", [1], [4, 8])}, "must start at byte"),
    "twice the same": (PAIR | {"c": ("F32", [4], [0, 16])}, "must start at byte"),
    "gap": ({"a": ("F32", [1], [0, 4]), "b": ("F32", [4], [8, 24])}, '"b" must start at byte'),
    "late start": ({"a": ("F32", [5], [4, 24])}, '"a" must start at byte'),
    "tail": ({"a": ("F32", [5], [0, 20])}, "bytes of no tensor at its end"),
    "newline in a name": ({"a\nb": ("F32", [5], [4, 24])}, r'"a\\nb" must start'),
}


@pytest.mark.parametrize(("header", "message"), BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
def test_hostile_headers(tmp_path, header, message):
    with pytest.raises(ValueError, match=message) as error:
        read_header(write_raw(tmp_path / "x", header))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\xff" * 64, b"\0" * 64, b"\x40" + b"\0" * 7])
def test_hostile_header_lengths(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=r"truncated or not safetensors: the header must have"):
        read_header(tmp_path / "x")


def test_any_truncation_is_refused(tmp_path):
    save_file({"a": torch.ones(6), "b": torch.ones(3)}, tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "x").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated"):
            read_header(tmp_path / "x")


def write_index(directory: Path, weight_map: object) -> None:
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


BAD_INDEXES = {
    "missing shard": ({"a": "other.safetensors"}, "other.safetensors: must be a readable file"),
    "absent tensor": ({"c": "x.safetensors"}, '"c" in x.safetensors, which does not hold it'),
    "path up": ({"a": "../x.safetensors"}, "a must be the name of a file"),
    "absolute path": ({"a": "/etc/passwd"}, "a must be the name of a file"),
    "number": ({"a": 3}, "a must be a string, got 3"),
    "empty": ({"a": ""}, "must be a readable file"),
    "list": ([1], "weight_map must be an object"),
}


@pytest.mark.parametrize(("weight_map", "message"), BAD_INDEXES.values(), ids=BAD_INDEXES.keys())
def test_bad_indexes(tmp_path, weight_map, message):
    write_raw(tmp_path / "x.safetensors", PAIR)
    write_index(tmp_path, weight_map)
    with pytest.raises(ValueError, match=message):
        read_index(tmp_path)


def test_an_index_chooses_the_shard_of_each_tensor(tmp_path):
    write_raw(tmp_path / "x.safetensors", PAIR)
    write_raw(tmp_path / "y.safetensors", PAIR)
    write_index(tmp_path, {"a": "x.safetensors", "b": "y.safetensors"})
    found = {name: tensor.path.name for name, tensor in read_index(tmp_path).items()}
    assert found == {"a": "x.safetensors", "b": "y.safetensors"}


def test_random_damage_is_loaded_or_refused(tmp_path):
    """Bit flips in the header of a whole model give a ValueError of one line, or still load."""
    write_tiny_model(tmp_path, "qwen2", tokenizer=False)
    config = read_config(tmp_path)
    path = tmp_path / "model.safetensors"
    good = path.read_bytes()
    header_bytes = 8 + int.from_bytes(good[:8], "little")
    rng = random.Random(0)
    refused = accepted = 0
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(header_bytes)] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            open_weights(tmp_path, config).load("layers.1.qkv.weight")
        except ValueError as error:
            refused += "\n" not in str(error)
        else:
            accepted += 1
    assert refused + accepted == 300
    assert refused > 200
