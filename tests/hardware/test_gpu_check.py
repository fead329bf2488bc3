"""The self-check of GPU kernels, on the CPU: it passes what is right and names what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from t2engine.hardware import gpu_check
from t2engine.hardware.gpu_check import check, check_kernels, probes
from t2engine.hardware.gpu_probes import DRAWN, EXACT, PROBES
from t2engine.ops import OPS
from t2engine.reports.doctor import print_checks

CPU = torch.device("cpu")
HALF = {"rms_norm", "silu_mul", "linear", "rope_append", "slab_attention", "step_update"}


def results(name, dtype=torch.float32, wrong=None):
    for what, run, inputs in probes(OPS[name], "torch", dtype, CPU):
        yield check(OPS[name], "torch", dtype, what, wrong or run, inputs)


@pytest.mark.parametrize("name", PROBES)
def test_the_reference_passes(name, monkeypatch):
    if name == "sample_tokens":
        monkeypatch.setattr(gpu_check, "PROBES", {name: lambda s: list(PROBES[name](s))[:1]})
    found = list(results(name))
    assert found
    assert all(check.passed for check in found), found


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", sorted(HALF))
def test_the_reference_passes_in_half_precision(name, dtype):
    assert all(check.passed for check in results(name, dtype))


@pytest.mark.parametrize("name", sorted(set(PROBES) - EXACT - DRAWN))
def test_a_small_error_fails(name):
    op = OPS[name]

    def off_by_a_thousandth(inputs):
        out = op.reference(*inputs)
        first, *rest = out if isinstance(out, tuple) else (out,)
        return first * 1.001, *rest

    assert not any(check.passed for check in results(name, wrong=off_by_a_thousandth))


def test_what_was_not_written_fails():
    """An in-place operation that does nothing."""
    assert not any(check.passed for check in results("step_update", wrong=lambda inputs: ()))


def test_a_nan_fails():
    wrong = lambda inputs: OPS["rms_norm"].reference(*inputs) * torch.nan  # noqa: E731
    assert all(check.error == float("inf") for check in results("rms_norm", wrong=wrong))


def test_a_kernel_that_cannot_run_is_named():
    def refuse(inputs):
        raise RuntimeError("no kernel image\nis available")

    [first, *_] = results("silu_mul", wrong=refuse)
    assert not first.passed
    assert first.problem == "no kernel image"


def test_what_is_not_there_says_why():
    found = list(check_kernels(CPU))
    assert {check.backend for check in found} == {"cuda", "triton"}
    assert all("does not run on cpu" in check.problem for check in found)


def test_time_that_is_over_is_said():
    found = list(check_kernels(CPU, ("torch",), budget_seconds=0.0))
    assert {check.problem for check in found} == {gpu_check.OUT_OF_TIME}
    assert {check.operation for check in found} == set(PROBES)


def test_the_report_counts_failures(capsys):
    [good, *_] = results("silu_mul")
    assert print_checks([good, replace(good, error=1.0), replace(good, problem="gone")]) == 2
    printed = capsys.readouterr().out
    assert "3 checks, 2 failed" in printed
    assert "gone" in printed
