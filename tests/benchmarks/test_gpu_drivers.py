"""The GPU benchmarks where there is no GPU: they refuse, and what needs none is right."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import attention_peers, decode, kernels, record, timing
from benchmarks.gpu.floors import Ceilings
from benchmarks.gpu.greedy import first_difference, summarize
from benchmarks.gpu.models import model_config, write_model
from benchmarks.gpu.record import DeviceLostError, Options, Record, attempt, read_lines
from benchmarks.gpu.shapes import Shape, make_inputs
from benchmarks.gpu.torch_peers import Sdpa
from benchmarks.peers.cells import Cell
from t2engine import LLM, SamplingParams
from t2engine.schema import CompletionOutput, Logprob, SampleCost

ROOT = Path(__file__).parents[2]
PROGRAMS = ["ceilings", "warm_peers", "attention_peers", "kernels", "decode"]
H200 = Ceilings(4.3e12, 790e12)
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@needs_no_gpu
@pytest.mark.parametrize("name", PROGRAMS)
def test_without_a_gpu_a_program_ends_with_2_and_one_line(name, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        import_module(f"benchmarks.gpu.{name}").main(["--out", str(tmp_path / "out"), "--quick"])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"benchmarks.gpu.{name}: needs a CUDA device, found none\n"
    assert not (tmp_path / "out").exists()


@needs_no_gpu
def test_so_does_its_process(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu.ceilings", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_a_record_is_added_to_and_read_whole(tmp_path):
    options = Options(tmp_path / "deep" / "out.jsonl", False, 60)
    Record(options).add("a", x=1)
    Record(options).add("b", y=None)
    assert read_lines(options.out) == [{"kind": "a", "x": 1}, {"kind": "b", "y": None}]
    assert read_lines(tmp_path / "none") == []
    assert not Record(options).out_of_time()
    assert Record(Options(options.out, False, -1)).out_of_time()


def test_an_attempt_gives_a_result_or_a_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert attempt(lambda: 5) == (5, None)
    assert attempt(lambda: 1 // 0)[1] == "ZeroDivisionError: integer division or modulo by zero"

    def broken():
        raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    with pytest.raises(DeviceLostError, match="ZeroDivisionError"):
        attempt(lambda: 1 // 0)


def test_sets_fill_l2_three_times_over():
    assert timing.sets_for(10, 100) == 30
    assert timing.sets_for(1 << 40, 100) == 1
    assert timing.sets_for(1, 1 << 30) == timing.MOST_SETS


@pytest.fixture
def pretend(monkeypatch):
    """A device whose graphs and events are the host's: the drivers' own steps, on tiny shapes."""

    def take_turns(runners, rounds=4):
        return {name: timing.summary([clock(r) / r.calls for _ in range(4)], r)
                for name, r in runners.items()}  # fmt: skip

    def clock(runner):
        began = time.perf_counter()
        runner.run()
        return time.perf_counter() - began

    def capture(calls):
        return timing.Runner(lambda: [call() for call in calls], len(calls), None, calls)

    def on_cpu(shape, index, device, dtype):
        return make_inputs(shape, index, "cpu", dtype)

    properties = type("Properties", (), {"L2_cache_size": 1 << 10, "name": "pretended"})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    for module in (attention_peers, kernels):
        monkeypatch.setattr(module, "capture", capture)
        monkeypatch.setattr(module, "time_in_turns", take_turns)
        monkeypatch.setattr(module, "make_inputs", on_cpu)
        monkeypatch.setattr(module, "measure_ceilings", lambda _: H200)
    monkeypatch.setattr(attention_peers, "why_too_large", lambda _: None)
    for module in (attention_peers, kernels):
        monkeypatch.setattr(module, "read_options", options_of)


def options_of(name, description, arguments):
    return Options(Path(arguments[0]), False, 60)


class Wrong(Sdpa):
    name = "wrong"

    def run(self, q, keys, values, scale):
        return super().run(q, keys, values, 2 * scale)


def test_attention_is_checked_timed_and_not_done_again(pretend, monkeypatch, tmp_path):
    shapes = [Shape("Qwen2.5-0.5B", 8, 128, 16), Shape("Qwen3-0.6B", 8, 128, 16)]
    monkeypatch.setattr(attention_peers, "all_shapes", lambda quick: shapes)
    monkeypatch.setattr(attention_peers, "peers", lambda warmed: [Sdpa(), Wrong()])
    out = tmp_path / "out.jsonl"
    lost = {"kind": "lost", "shape": str(shapes[1]), "variant": "wrong", "why": "illegal address"}
    out.write_text(json.dumps(lost) + "\n")
    attention_peers.main([str(out)])
    first, second = [line for line in read_lines(out) if line["kind"] == "attention"]
    assert set(first["variants"]) == {Sdpa.name}
    found = first["variants"][Sdpa.name]
    assert found["seconds"] > 0
    assert found["relative_error"] == pytest.approx(first["torch_error"])
    assert "wrong: relative error" in first["failed"]["wrong"]
    assert second["failed"]["wrong"] == "broke the CUDA context"
    assert {"t2 triton", "t2 cuda"} <= set(first["failed"])
    attention_peers.main([str(out)])
    assert len(read_lines(out)) == 3


def test_a_peer_that_was_not_compiled_in_time_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    shape, warmed = Shape("Qwen3-0.6B", 8, 128), tmp_path / "warm_peers.jsonl"

    def reasons():
        found = attention_peers.peers(warmed)
        return {peer.way: peer.why_not(shape) for peer in found if hasattr(peer, "way")}

    assert set(reasons().values()) == {None}
    lines = [
        {"kind": "peer", "way": "cascade fa2", "model": "Qwen3-0.6B", "relative_error": 1e-3},
        {"kind": "peer", "way": "decode fa2", "model": "Qwen3-0.6B", "failed": "nvcc"},
        {"kind": "peer", "way": "decode auto", "model": "Qwen2.5-0.5B", "relative_error": 1e-3},
    ]
    warmed.write_text("".join(json.dumps(line) + "\n" for line in lines))
    late = [way for way, why in reasons().items() if why]
    assert late == ["cascade auto", "decode fa2", "decode auto"]


def test_kernels_say_why_they_have_no_number(pretend, monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "PREFIX_SAMPLES", 8)
    monkeypatch.setattr(kernels, "step_ops", lambda quick: [])
    monkeypatch.setattr(kernels, "tile_jobs", lambda quick: [])
    monkeypatch.setattr(kernels, "PREFIX_LENGTHS", (128,))
    out = tmp_path / "out.jsonl"
    kernels.main([str(out)])
    lines = read_lines(out)
    assert {line["kind"] for line in lines} == {"prefix", "suffix"}
    assert all(line["failed"] for line in lines)
    kernels.main([str(out)])
    assert read_lines(out) == lines


@pytest.mark.parametrize("name", ["5M", "Qwen2.5-0.5B"])
def test_models_are_written_in_bfloat16_and_read_by_us(name, tmp_path, monkeypatch):
    from benchmarks.gpu import models

    small = models.MODELS[name] | {"num_hidden_layers": 1, "vocab_size": 512}
    monkeypatch.setitem(models.MODELS, name, small)
    directory = write_model(name, tmp_path)
    assert write_model(name, tmp_path) == directory
    llm = LLM(directory)
    assert llm.config.dtype == "bfloat16"
    wanted = vars(model_config(name)) | {"dtype": "bfloat16"}
    assert vars(llm.config) == wanted
    cell = Cell(20, 3, 4)
    prefill_seconds, decode_seconds = decode.run_t2(llm, cell, 512, 0)
    assert min(prefill_seconds, decode_seconds) > 0


@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated")
def test_transformers_decodes_the_same_files(tmp_path, monkeypatch):
    import transformers

    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    model = transformers.AutoModelForCausalLM.from_pretrained(write_model("5M", tmp_path))
    found = decode.timed(partial(decode.run_transformers, model, Cell(20, 3, 4), 8192, 0))
    assert min(found.prefill_seconds, found.decode_seconds, found.cpu_seconds) > 0
    assert found.seconds >= found.prefill_seconds + found.decode_seconds


@needs_no_gpu
def test_decoding_says_why_it_has_no_number(pretend, monkeypatch, tmp_path):
    monkeypatch.setattr(decode, "read_options", options_of)
    monkeypatch.setattr(decode, "measure_ceilings", lambda _: H200)
    monkeypatch.setattr(decode, "write_model", lambda name: write_model(name, tmp_path))
    monkeypatch.setattr(decode, "RUNS", (("5M", 4, 16),))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(decode, "samples_that_fit", lambda model, cell: 2)
    out = tmp_path / "out.jsonl"
    decode.main([str(out)])
    lines = read_lines(out)
    assert [line.get("engine") for line in lines] == [None, *decode.ENGINES]
    assert all(line["failed"] for line in lines)
    decode.main([str(out)])
    assert read_lines(out) == lines


def test_figures_are_medians():
    rounds = [decode.Round(s, 0.1, s / 2, 0.1 * s, 0.05 * s) for s in (1.0, 4.0, 2.0)]
    found = decode.figures(rounds, Cell(16, 8, 5))
    assert found["tokens_per_second"] == 8 * 5 / 2
    assert found["decode_tokens_per_second"] == 8 * 4 / 1
    assert found["host_busy"] == pytest.approx(0.1)
    assert found["main_thread_busy"] == pytest.approx(0.05)


NOTHING = SampleCost(0, 0, 0, 0, 0, 0.0, 0.0)


def sample(ids, logprobs=None):
    return CompletionOutput(0, "", tuple(ids), "length", None, None, logprobs, NOTHING)


def test_greedy_steps_are_compared_up_to_the_first_difference():
    seen = (
        {1: Logprob(-0.1, 1), 2: Logprob(-2.0, 2)},
        {1: Logprob(-0.70, 1), 3: Logprob(-0.71, 2)},
    )
    cpu = sample([1, 1], seen)
    compared = [
        first_difference("a", cpu, sample([1, 1])),
        first_difference("b", cpu, sample([1, 3])),
        first_difference("c", cpu, sample([9, 1])),
        first_difference("d", cpu, sample([1])),
    ]
    assert [count for count, _ in compared] == [2, 2, 1, 2]
    found = summarize(compared)
    assert found["agreement"] == 1 - 3 / 7
    assert found["largest_lead"] == pytest.approx(0.01)
    assert found["without_lead"] == 2
    last = found["differences"][-1]
    assert (last["step"], last["cpu_token"], last["gpu_token"]) == (1, 1, None)


def test_a_model_agrees_with_itself():
    params = SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True, logprobs=2)
    [output] = LLM(device="cpu", dtype="float32").generate(["12+7*3="], params, progress=False)
    assert first_difference("", output.outputs[0], output.outputs[0]) == (8, None)


def test_every_program_explains_its_options(capsys):
    with pytest.raises(SystemExit) as end:
        record.read_options("kernels", "what it does", ["--help"])
    assert end.value.code == 0
    assert "--quick" in capsys.readouterr().out
