"""Fixtures of every test: backends with their reasons, poisoned memory, one thread."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read by triton when it is first imported
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic algorithms need it

from t2engine import LLM
from t2engine.engine.opening import Opening
from tests.backends import device_of, op_of, require, why_not
from tests.model.tiny import write_tiny_model


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`backend` takes every backend of the operation that the test file is named after."""
    if "backend" in metafunc.fixturenames:
        op = op_of(metafunc.module.__name__)
        metafunc.parametrize("backend", op.backends, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    require(request.param, why_not(op_of(request.module.__name__), request.param))
    return request.param


@pytest.fixture
def device(backend: str) -> str:
    return device_of(backend)


@pytest.fixture
def native() -> ModuleType:
    """The compiled extension: its instruction sets are submodules, named by supported_isas."""
    try:
        return importlib.import_module("t2engine._C")
    except ImportError as error:
        require("cpp", str(error))
        raise


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """torch.empty gives nan (or the largest integer), so an unwritten output is loud."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def auto_is_the_cpu() -> Iterator[None]:
    """What a test does not put on a GPU runs on the CPU, on every machine."""
    on_gpu = Opening.on_gpu
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Opening, "on_gpu", lambda self: self.device == "cuda" and on_gpu(self))
        yield


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random-weight model with a tokenizer, as a Hugging Face directory."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny"), "llama", num_hidden_layers=3)


@pytest.fixture(scope="session")
def llm(tiny_dir: Path) -> LLM:
    return LLM(tiny_dir)
