"""What a process holds at most: weights, one prompt's keys, the samples' own, and little else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from t2engine import metering
from t2engine.model.config import read_config
from t2engine.model.weights import open_weights
from tests.model.tiny import write_tiny_model

ALLOWANCE = 250 * 2**20  # bytes: Python, torch (221 MiB by itself) and the workspace
NUM_SAMPLES, PROMPT_LEN, NEW_TOKENS = 64, 1024, 64

linux_only = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")

SCRIPT = """
import sys
from t2engine import LLM, SamplingParams
params = SamplingParams(n={n}, max_tokens={new}, seed=0, ignore_eos=True)
[output] = LLM(sys.argv[1], device="cpu", threads=2).generate([[5] * {prompt}], params)
assert sum(len(sample.token_ids) for sample in output.outputs) == {n} * {new}
"""
# Prints kibibytes held before the call, planned bytes, then the peak.
PLANNED = """
import sys
from t2engine import LLM, SamplingParams
from t2engine.engine import llm as module
plan_memory, plans = module.plan_memory, []
module.plan_memory = lambda *given, **named: plans.append(plan_memory(*given, **named)) or plans[-1]
model = LLM(sys.argv[1], device="cpu", dtype=sys.argv[2], kv_cache_dtype=sys.argv[3], threads=2)
params = SamplingParams(n=96, max_tokens=80, seed=0, ignore_eos=True)
print(open('/proc/self/status').read().partition('VmRSS:')[2].split()[0])
model.generate([[5] * 2048], params)
print(plans[0].total_bytes)
"""
# The high-water mark of this process image alone: ru_maxrss would keep that of the test runner,
# whose memory a child shares until it executes.
REPORT = "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 37.9M-parameter Llama."""
    return write_tiny_model(
        tmp_path_factory.mktemp("model"),
        "llama",
        vocab_size=8192,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=10,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        tokenizer=False,
    )


@linux_only
def test_one_prefix_and_n_suffixes(model_dir: Path) -> None:
    """64 samples of 64 tokens from one prompt of 1024."""
    code = SCRIPT.format(n=NUM_SAMPLES, new=NEW_TOKENS, prompt=PROMPT_LEN) + REPORT
    command = [sys.executable, "-c", code, str(model_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    config = read_config(model_dir)
    weights = 4 * open_weights(model_dir, config).num_params
    assert weights > 150e6
    keys = metering.key_value_bytes(config, PROMPT_LEN + NUM_SAMPLES * NEW_TOKENS)
    assert int(done.stdout) * 1024 <= weights + keys + ALLOWANCE


@linux_only
@pytest.mark.parametrize(
    ("weights", "cache"), [("float32", "float32"), ("bfloat16", "bfloat16"), ("int8", "int8")]
)
def test_the_plan_is_what_is_held(model_dir: Path, weights: str, cache: str) -> None:
    """What the process held before the call, and the plan, are the peak to within 5 %."""
    command = [sys.executable, "-c", PLANNED + REPORT, str(model_dir), weights, cache]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, planned, peak = (int(line) for line in done.stdout.split())
    assert abs(1024 * peak / (1024 * before + planned) - 1) <= 0.05


@linux_only
def test_the_measure_itself_sees_memory() -> None:
    code = "x = bytearray(10**8); x[::4096] = b'1' * len(x[::4096]); del x; " + REPORT
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 10**8 < int(done.stdout) * 1024 < 1.5e8
