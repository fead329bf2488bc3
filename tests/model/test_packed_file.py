"""The file of packed weights: the same bits, and never a wrong one, whatever happened to it."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from t2engine import LLM, SamplingParams
from t2engine.engine.memory import available_bytes
from t2engine.model import packed_file
from t2engine.model.config import read_config
from t2engine.model.packed_file import PackedFile, open_packed
from t2engine.model.transformer import Transformer
from t2engine.model.weights import WeightFiles, open_weights
from t2engine.schema import Precision
from tests.model.tiny import TINY_MODELS, write_tiny_model

DTYPES = ("float32", "bfloat16", "float16", "int8")
ROOT = Path(__file__).parents[2]
FILE = "t2engine-float32.packed"
PARTIAL = FILE + ".partial"


def opened(model_dir: Path) -> WeightFiles:
    return open_weights(model_dir, read_config(model_dir))


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A small model whose packed file is there."""
    write_tiny_model(tmp_path, "llama", tokenizer=False)
    open_packed(opened(tmp_path), "float32", 2)
    return tmp_path


@contextmanager
def no_packing() -> Iterator[None]:
    """Inside, weights can come from a packed file only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(WeightFiles, "load_packed")
        yield


def assert_right(model_dir: Path) -> PackedFile:
    """The file is whole, and holds what packing gives."""
    files = opened(model_dir)
    with no_packing():
        packed = open_packed(files, "float32", 1)
    for name in files.names:
        if packed_file.is_packed(name, files):
            want = files.load_packed(name, torch.float32, 1).panels
            got = packed.load_packed(name, torch.float32, 1).panels
        else:
            want, got = files.load(name), packed.load(name)
        assert torch.equal(want, got), name
    return packed


# ---- what is in it ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TINY_MODELS)
def test_a_transformer_has_the_same_bits(tmp_path: Path, name: str, dtype: str) -> None:
    family, overrides = TINY_MODELS[name]
    write_tiny_model(tmp_path, family, tokenizer=False, **overrides)
    config, files, precision = read_config(tmp_path), opened(tmp_path), Precision(dtype)
    plain = Transformer(config, files, 2, precision)
    made = Transformer(config, open_packed(files, dtype, 2), 2, precision)
    with no_packing():
        mapped = Transformer(config, open_packed(files, dtype, 1), 2, precision)
    for tensors in zip(plain.tensors(), made.tensors(), mapped.tensors(), strict=True):
        assert len({(x.dtype, x.shape) for x in tensors}) == 1
        first, *others = (x.view(torch.uint8) for x in tensors)
        assert all(torch.equal(first, other) for other in others)
    assert plain.nbytes == mapped.nbytes
    assert mapped.mapped_bytes >= mapped.nbytes
    assert plain.mapped_bytes == 0
    assert [path.name for path in tmp_path.glob("t2engine*")] == [f"t2engine-{dtype}.packed"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_are_the_same(tmp_path: Path, dtype: str) -> None:
    write_tiny_model(tmp_path, "llama", tie_word_embeddings=True)
    params = SamplingParams(n=5, max_tokens=12, seed=3, logprobs=0)
    want = LLM(tmp_path, dtype=dtype).generate("one two", params)
    for _ in range(2):
        llm = LLM(tmp_path, dtype=dtype, packed_cache=True)
        got = llm.generate("one two", params)
        for a, b in zip(want[0].outputs, got[0].outputs, strict=True):
            assert (a.token_ids, a.logprobs) == (b.token_ids, b.logprobs)


def test_tensors_are_pages_of_the_file_and_aligned(model_dir: Path) -> None:
    packed = assert_right(model_dir)
    start = packed.data.data_ptr()
    assert start % packed_file.PAGE_BYTES == 0
    panels = packed.load_packed("layers.1.qkv.weight", torch.float32, 1).panels
    assert start <= panels.data_ptr() < start + packed.data.nbytes
    assert all(packed.load(name).data_ptr() % 64 == 0 for name in packed.entries)


def test_writing_to_a_tensor_does_not_write_to_the_file(model_dir: Path) -> None:
    before = (model_dir / FILE).read_bytes()
    assert_right(model_dir).load("final_norm.weight").fill_(7)
    assert (model_dir / FILE).read_bytes() == before
    assert_right(model_dir)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="reads /proc")
def test_mapped_weights_are_not_free_memory() -> None:
    assert available_bytes(2**60) == 0
    assert 0 < available_bytes(2**20) < available_bytes() + 2**30


# ---- when it is made again -------------------------------------------------------------------


def remade(model_dir: Path, why: str) -> None:
    files = opened(model_dir)
    with pytest.warns(UserWarning, match=rf"{FILE} {why}.*: the weights are packed again"):
        open_packed(files, "float32", 2)
    assert_right(model_dir)


def test_other_weights(model_dir: Path) -> None:
    path = model_dir / "model.safetensors"
    state = path.stat()
    tensors = load_file(path)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, path, {"format": "pt"})
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    remade(model_dir, "was made from other weights")  # of the same size and time


def test_the_same_weights_written_again(model_dir: Path) -> None:
    os.utime(model_dir / "model.safetensors", ns=(1, 1))
    remade(model_dir, "was made from other weights")


def test_another_version(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_file, "VERSION", packed_file.VERSION + 1)
    remade(model_dir, "is of another version")


def test_a_model_that_is_copied_with_its_times_keeps_the_file(model_dir: Path) -> None:
    other = model_dir / "other"
    other.mkdir()
    for path in model_dir.glob("*.*"):
        (other / path.name).write_bytes(path.read_bytes())
        os.utime(other / path.name, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    assert_right(other)


def test_any_damage_is_seen(model_dir: Path) -> None:
    """A flipped bit anywhere, in the head, the data, what fills them up, or the sums."""
    path = model_dir / FILE
    good = path.read_bytes()
    rng = random.Random(0)
    places = [0, len(good) // 2, len(good) - 1, *(rng.randrange(len(good)) for _ in range(40))]
    places += [rng.randrange(2 * packed_file.PAGE_BYTES) for _ in range(40)]
    for place in places:
        damaged = bytearray(good)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match="the weights are packed again"):
            open_packed(opened(model_dir), "float32", 2)
        assert path.read_bytes() == good


@pytest.mark.parametrize("change", ["empty", "cut", "longer", "zero tail", "moved page", "other"])
def test_a_file_of_another_shape(model_dir: Path, change: str) -> None:
    path = model_dir / FILE
    good = path.read_bytes()
    page = packed_file.PAGE_BYTES
    first = 8 * page
    path.write_bytes(
        {
            "empty": b"",
            "cut": good[:-1],
            "longer": good + b"\0",
            "zero tail": good[: 4 * page] + bytes(len(good) - 4 * page),
            "moved page": good[:first]
            + good[first + page : first + 2 * page]
            + good[first : first + page]
            + good[first + 2 * page :],
            "other": os.urandom(len(good)),
        }[change]
    )
    remade(model_dir, "is ")
    assert path.read_bytes() == good


def test_weights_that_change_while_they_are_packed(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_touch(*args: object) -> object:
        os.utime(model_dir / "model.safetensors", ns=(1, 1))
        return write(*args)

    write = packed_file.write
    (model_dir / FILE).unlink()
    monkeypatch.setattr(packed_file, "write", write_and_touch)
    with pytest.raises(ValueError, match="changed while they were packed"):
        open_packed(opened(model_dir), "float32", 1)
    assert not list(model_dir.glob("*.packed*"))


# ---- who writes it ---------------------------------------------------------------------------


def test_a_place_that_cannot_be_written(model_dir: Path) -> None:
    (model_dir / FILE).unlink()
    (model_dir / PARTIAL).mkdir()
    with pytest.raises(ValueError, match=rf"{FILE}: .* directory; load without packed_cache"):
        LLM(model_dir, packed_cache=True)


def test_a_pipe_in_its_place(model_dir: Path) -> None:
    """Opening it would wait for a writer."""
    (model_dir / FILE).unlink()
    os.mkfifo(model_dir / FILE)
    remade(model_dir, "is not a file")


def test_a_disk_that_is_full(model_dir: Path) -> None:
    (model_dir / FILE).unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(ValueError, match=rf"{FILE}: .* load without packed_cache"):
            open_packed(opened(model_dir), "float32", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(model_dir.glob("*.packed*"))


def test_writers_at_once_end_with_one_good_file(model_dir: Path) -> None:
    (model_dir / FILE).unlink()
    files = opened(model_dir)
    found: list[PackedFile] = []
    threads = [
        threading.Thread(target=lambda: found.append(open_packed(files, "float32", 1)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    right = assert_right(model_dir)
    assert all(torch.equal(packed.data, right.data) for packed in found)
    assert not (model_dir / PARTIAL).exists()


WRITER = """
import os, sys
from pathlib import Path
from t2engine.model.exclusive_file import exclusive_file
target, partial, size = Path(sys.argv[1]), Path(sys.argv[1] + ".partial"), 1 << 18
for _ in range(100):
    if target.exists():
        content = target.read_bytes()
        assert len(content) == size and len(set(content)) == 1
    with exclusive_file(partial) as file:
        file.write(bytes([os.getpid() % 256]) * size)
        file.flush()
        os.replace(partial, target)
"""
SLEEPER = """
import sys, time
from pathlib import Path
from t2engine.model.exclusive_file import exclusive_file
with exclusive_file(Path(sys.argv[1])) as file:
    file.write(b"x" * 10**7)
    file.flush()
    print("here", flush=True)
    time.sleep(600)
"""


def test_processes_that_write_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "file")]
    writers = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_left_is_taken_over(model_dir: Path) -> None:
    (model_dir / FILE).unlink()
    command = [sys.executable, "-c", SLEEPER, str(model_dir / PARTIAL)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"here\n"
        writer.send_signal(signal.SIGKILL)
    assert (model_dir / PARTIAL).stat().st_size == 10**7
    open_packed(opened(model_dir), "float32", 1)
    assert_right(model_dir)
    assert not (model_dir / PARTIAL).exists()
