"""The pool of threads under every C++ kernel: exceptions, callers at once, forks."""

from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from t2engine.ops import linear, sample_tokens
from tests.backends import run_cpu
from tests.cases import LinearCase, SampleTokensCase

INPUTS = LinearCase(64, 96, 1000, bias=True).inputs()  # enough work for four threads


@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_an_exception_reaches_the_caller_and_the_pool_goes_on(num_threads, native):
    isa = native.supported_isas[0]
    want = run_cpu(native, isa, linear, INPUTS, num_threads=1)[0]
    logits, *rest = SampleTokensCase(64, 2000).inputs()
    logits[37, 5] = math.nan
    for _ in range(20):
        with pytest.raises(ValueError, match="in row 37"):
            run_cpu(native, isa, sample_tokens, (logits, *rest), num_threads)
        got = run_cpu(native, isa, linear, INPUTS, num_threads)[0]
        assert torch.equal(got, want)


def test_callers_at_once_each_get_their_own_result(native):
    isa = native.supported_isas[0]
    cases = [LinearCase(8 * i, 64, 700 + i).inputs() for i in range(1, 9)]
    want = [run_cpu(native, isa, linear, inputs)[0] for inputs in cases]

    def call(i: int) -> bool:
        outputs = linear.outputs(*cases[i % 8])
        got = run_cpu(native, isa, linear, cases[i % 8], 1 + i % 4, outputs)[0]
        return torch.equal(got, want[i % 8])

    with ThreadPoolExecutor(6) as callers:
        assert all(callers.map(call, range(400)))


FORK = """
import os, torch
from t2engine import _C
from t2engine.ops import linear, pack_weight
torch.set_num_threads(1)  # torch's own pool does not survive a fork
torch.manual_seed(0)
x, weight = torch.randn(64, 96), pack_weight(torch.randn(1000, 96))
def product():
    out = torch.empty(64, 1000)
    _C.linear_cpu(out, x, weight.panels, None, None, 4)
    return out
before = product()  # the parent's workers are running when it forks
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(product(), before) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert torch.equal(product(), before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_a_forked_child_makes_its_own_workers(native):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
