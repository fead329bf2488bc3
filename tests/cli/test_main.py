"""The command line: one-line errors, exit code 2, nothing written, and quick where it must be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from t2engine.cli.main import run
from tests.model.tiny import rewrite_config, write_tiny_model

Capture = pytest.CaptureFixture[str]


def refused(capsys: Capture, arguments: list[str], *words: str) -> None:
    """The command line is refused in one line that has these words, and prints nothing else."""
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("t2")
    for word in words:
        assert word in captured.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--n", "0"], ["n must be", "at least 1", "got 0"]),
        (["--temperature", "-1"], ["temperature must be", "at least 0", "got -1"]),
        (["--top-p", "0"], ["top_p must be in (0, 1]", "got 0"]),
        (["--min-p", "2"], ["min_p must be in [0, 1]", "got 2"]),
        (["--max-tokens", "0"], ["max_tokens must be", "got 0"]),
        (["--seed", "-3"], ["seed must be", "got -3"]),
        (["--n", "many"], ["--n", "integer"]),
        (["--colour", "red"], ["--colour"]),
        (["--model", "/no/such/model"], ["/no/such/model", "no such directory"]),
        (["--threads", "0"], ["threads must be at least 1, got 0"]),
        (["--device", "tpu"], ["device must be one of auto, cpu, cuda", "got 'tpu'"]),
        (["--instruction-set", "mmx"], ["instruction_set must be one of auto", "got 'mmx'"]),
        (["--out", "/no/such/directory/x.jsonl"], ["--out must be in a directory that exists"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_options(capsys: Capture, tiny_dir: Path, options: list[str], words: list[str]) -> None:
    model = [] if "--model" in options else ["--model", str(tiny_dir)]
    refused(capsys, ["sample", "hello", *model, *options], *words)


def test_bad_prompts_write_nothing(capsys: Capture, tiny_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples.jsonl"
    common = ["--model", str(tiny_dir), "--out", str(out)]
    refused(capsys, ["sample", "", *common], "prompt must not be empty")
    refused(capsys, ["sample", "the " * 2000, *common], "context of 1024 tokens", "got")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_that_cannot_fit(capsys: Capture, tmp_path: Path) -> None:
    write_tiny_model(tmp_path, "llama", max_position_embeddings=2**31 - 1)
    arguments = ["sample", "x", "--model", str(tmp_path), "--max-tokens", str(2 * 10**9)]
    refused(capsys, arguments, "memory plan does not fit", "MiB")


def test_broken_models(capsys: Capture, tmp_path: Path) -> None:
    truncated = write_tiny_model(tmp_path / "truncated", "llama")
    weights = truncated / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refused(capsys, ["sample", "x", "--model", str(truncated)], "model.safetensors")
    fieldless = write_tiny_model(tmp_path / "fieldless", "llama")
    rewrite_config(fieldless, hidden_size=None)
    refused(capsys, ["sample", "x", "--model", str(fieldless)], "hidden_size")
    mismatched = write_tiny_model(tmp_path / "mismatched", "llama", vocab_size=300)
    refused(capsys, ["sample", "x", "--model", str(mismatched)], "size mismatch", "300", "319")
    unknown = write_tiny_model(tmp_path / "unknown", "llama")
    rewrite_config(unknown, architectures=["MambaForCausalLM"], model_type="mamba")
    refused(capsys, ["sample", "x", "--model", str(unknown)], "MambaForCausalLM")
    sliding = write_tiny_model(tmp_path / "sliding", "mistral")
    rewrite_config(sliding, sliding_window=128)
    refused(capsys, ["sample", "x", "--model", str(sliding)], "sliding_window", "128")


def test_unknown_command(capsys: Capture) -> None:
    refused(capsys, ["smaple"], "smaple")


def test_sample_prints_and_writes_the_same(capsys: Capture, tiny_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples.jsonl"
    common = ["sample", "hello", "world", "--model", str(tiny_dir), "--n", "3", "--seed", "1"]
    assert run([*common, "--max-tokens", "5", "--json", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed == out.read_text()
    records = [json.loads(line) for line in printed.splitlines()]
    assert [len(record["outputs"]) for record in records] == [3, 3]
    assert records[0]["cost"]["joules"] is None
    assert run([*common, "--max-tokens", "5"]) == 0
    shown = capsys.readouterr().out
    assert "hello" in shown
    assert "cost per sample" in shown


def test_doctor_names_every_operation_and_reason(capsys: Capture) -> None:
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["extension"]["chosen_isa"] in found["extension"]["supported_isas"]
    assert found["operations"]["linear"]["cpu"] == "cpp"
    backends = found["operations"]["merge_states"]["backends"]
    assert set(backends) == {"cpp", "cuda", "triton", "torch"}
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert found["extension"]["chosen_isa"] in shown
    assert "shared_prefix_attention" in shown


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["plan", "--help"]])
def test_help_never_imports_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom t2engine.cli.main import run\n"
        f"code = run({arguments})\nassert 'torch' not in sys.modules\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_doctor_shows_which_kernel_a_gpu_would_use(capsys: Capture) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, and the check takes a minute")
    assert run(["doctor", "--gpu"]) == 0
    printed = capsys.readouterr().out
    assert "the first row that fits" in printed
    assert "self-check: not run, torch finds no NVIDIA GPU" in printed
    assert run(["doctor", "--gpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {choice["backend"] for choice in found["prefix_choices"]} >= {"triton"}
    assert (found["gpu"], found["checks"]) == (None, [])
