"""The driver of the peers: what it feeds, how it talks, what it makes of the answers."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks.peers import model as models
from benchmarks.peers import rates, table
from benchmarks.peers.cells import Cell, parse_cell
from benchmarks.peers.engines import ALL, Column, parse_columns
from benchmarks.peers.plain_torch import PlainTorch
from benchmarks.peers.protocol import RefusedError
from benchmarks.peers.record import GEMMS, READS, CellRecord, summary
from benchmarks.peers.worker import Worker
from t2engine.model.config import read_config
from t2engine.ops import linear
from tests.backends import require

OURS, PEER = Column("t2", "float32"), Column("torch", "float32")


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return models.write_model("1M", tmp_path_factory.mktemp("peers"))


def call(rate, mode="a", prefill_seconds=1.0):
    return {"tokens_per_second": rate, "mode": mode, "prefill_seconds": prefill_seconds}


def test_a_cell_is_read_as_written():
    assert parse_cell(str(Cell(128, 8, 64))) == Cell(128, 8, 64)


@pytest.mark.parametrize("text", ["128,8", "0,8,64", "128,8,1", "a,b,c"])
def test_a_wrong_cell_is_refused(text):
    with pytest.raises(ValueError, match="a cell"):
        parse_cell(text)


def test_every_call_has_a_fresh_prompt_and_all_engines_the_same():
    cell = Cell(64, 2, 4)
    prompt = cell.prompt(1000, "repeat 0")
    assert prompt == cell.prompt(1000, "repeat 0")
    assert len(prompt) == 64
    assert prompt != cell.prompt(1000, "repeat 1")


def test_columns_are_named_by_engine_or_precision():
    assert [c for c in ALL if c.engine == "t2"] == parse_columns("t2")
    assert parse_columns("t2:float32") == [OURS]
    with pytest.raises(ValueError, match="an engine must be"):
        parse_columns("t2:float7")


def test_the_model_is_written_once_and_read_by_us(model_dir):
    before = (model_dir / "model.safetensors").stat().st_mtime_ns
    assert models.write_model("1M", model_dir.parent) == model_dir
    assert (model_dir / "model.safetensors").stat().st_mtime_ns == before
    assert read_config(model_dir).num_layers == models.LAYOUTS["1M"].num_layers


def test_plain_torch_is_the_model(model_dir):
    """Logits after a prompt, and after three decoded tokens, are those of transformers."""
    import transformers

    oracle = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    plain = PlainTorch()
    plain.load(model_dir, "float32", 1)
    drawn = []
    with torch.inference_mode():
        prompt = torch.arange(10, 30)
        logits, prefix = plain.prefill(prompt)
        plain.sample = lambda logits: drawn.append(logits) or logits.argmax(-1)
        plain.decode(logits, prefix, 2, 4)
        ids = torch.cat([prompt, *(step[:1].argmax(-1) for step in drawn)])
        want = oracle(ids[None, :-1]).logits[0, len(prompt) - 1 :]
    for step, expected in zip(drawn, want, strict=True):
        torch.testing.assert_close(step, expected.expand_as(step), atol=2e-5, rtol=1e-4)


def test_a_worker_answers_refuses_and_survives_a_refusal(model_dir):
    require("cpp", linear.why_not("cpp"))
    worker = Worker(OURS, sys.executable, model_dir, 1, 60)
    cell = Cell(16, 2, 4)
    run = {"do": "run", "num_samples": 2, "new_tokens": 4, "seed": 0, "mode": "generate"}
    try:
        with pytest.raises(RefusedError, match="99999"):
            worker.ask(**run, prompt_ids=[99999])
        timing = worker.ask(**run, prompt_ids=cell.prompt(1024, ""))
    finally:
        worker.stop()
    assert timing["tokens"] == 2 * 3
    assert min(timing["prefill_seconds"], timing["decode_seconds"]) > 0


def test_a_precision_that_is_not_offered_is_a_refusal_with_its_reason(model_dir):
    worker = Worker(Column("torch", "float7"), sys.executable, model_dir, 1, 60)
    for _ in range(2):  # the second without starting it again
        with pytest.raises(RefusedError, match="float7"):
            worker.ask(do="modes", num_samples=1)
    assert worker.process is None


def test_a_process_that_ends_is_a_refusal(model_dir):
    worker = Worker(PEER, sys.executable, model_dir.parent, 1, 60)  # no model there
    with pytest.raises(RefusedError, match=r"ended with code 1: FileNotFoundError.*config\.json"):
        worker.ask(do="modes", num_samples=1)
    assert worker.process is None


def test_figures_are_medians_and_ratios_of_them(model_dir):
    record = CellRecord(Cell(128, 8, 64))
    record.warm_up = {OURS: [call(1, "slow"), call(2, "fast")]}
    record.calls = {OURS: [call(30), call(10), call(20)], PEER: [call(5), call(4), call(6)]}
    found_rates = {"gemm_linear": 1e9, "gemm_torch": 2e9, "read_sum": 4e9}
    found_rates |= {"read_dot": 2e9, "read_linear": 3e9}
    record.rates = [found_rates]
    missing = Column("transformers", "float32")
    record.why_not = {missing: "not installed"}
    found = summary(record, [OURS, PEER, missing], read_config(model_dir))
    ours = found["engines"][str(OURS)]
    floor = found["floors"]["float32"]["decode_tokens_per_second"]
    assert record.best_mode(OURS) == "fast"
    assert record.machine_rates().gemm_flops_per_second == 2e9
    assert record.machine_rates().read_bytes_per_second == 4e9
    assert found["best_peer"] == str(PEER)
    assert ours["decode_tokens_per_second"] == 20
    assert ours["over_best_peer"] == 4
    assert ours["share_of_floor"] == 20 / floor
    assert found["engines"][str(missing)]["decode_tokens_per_second"] is None
    shown = table.show({"cells": [found]})
    assert "| 4.00 |" in shown
    assert "transformers:float32: not installed" in shown


def test_rates_are_measured(model_dir, monkeypatch):
    require("cpp", linear.why_not("cpp"))
    sizes = {"READ_ELEMENTS": 2**20, "PIECE": 2**18, "SECONDS": 0.0, "CALLS": 1}
    for name, size in sizes.items():
        monkeypatch.setattr(rates, name, size)
    measured = rates.RateMeter(read_config(model_dir), 1).measure()
    assert set(measured) > {*GEMMS, *READS}
    assert all(0 < rate < 1e15 for rate in measured.values())
