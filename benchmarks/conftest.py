"""Benchmarks share the tests' backends, and write down the conditions they ran under."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from tests.conftest import backend, device, native, pytest_generate_tests  # noqa: F401

BUSY = 0.5  # load per core above which a figure is not worth keeping


def load_per_core() -> float:
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    saves = config.getoption("benchmark_save") or config.getoption("benchmark_autosave")
    if saves and load_per_core() > BUSY:
        raise pytest.UsageError(
            f"a baseline needs a quiet machine: load per core must be below {BUSY}, "
            f"got {load_per_core():.2f}"
        )


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: Any) -> None:
    machine_info["torch"] = torch.__version__
    machine_info["threads"] = torch.get_num_threads()
    machine_info["load_per_core"] = load_per_core()
    machine_info["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: Any) -> None:
    for benchmark in output_json["benchmarks"]:
        extra, seconds = benchmark["extra_info"], benchmark["stats"]["median"]
        extra["flops_per_second"] = extra["flops"] / seconds
        extra["bytes_per_second"] = extra["bytes"] / seconds
