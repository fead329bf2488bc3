"""The floor of a decode step against the figures it was first computed to, and its own laws."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers.cells import CELLS, Cell
from benchmarks.peers.floor import (
    Rates,
    decode_floor_rate,
    decode_floor_seconds,
    prefill_floor_seconds,
    step_bytes,
    step_flops,
)
from t2engine import metering
from t2engine.schema import ModelConfig

SMALL = ModelConfig(
    family="llama",
    vocab_size=32000,
    hidden_size=768,
    intermediate_size=2048,
    num_layers=16,
    num_heads=12,
    num_kv_heads=4,
    head_dim=64,
    max_context_len=8192,
    norm_eps=1e-5,
    rope_theta=10000.0,
    rotary_dim=64,
)
ZEN3 = Rates(gemm_flops_per_second=170e9, read_bytes_per_second=33.8e9)
PUBLISHED = {  # tokens per second, where the peers were first measured
    Cell(128, 1, 64): 67,
    Cell(128, 8, 64): 527,
    Cell(128, 64, 64): 658,
    Cell(1024, 8, 64): 498,
    Cell(1024, 64, 64): 562,
    Cell(4096, 64, 32): 376,
    Cell(512, 256, 64): 613,
}


def test_small_is_the_model_of_the_published_floors():
    assert metering.decode_flops(SMALL, 0) == pytest.approx(250.5e6, rel=1e-3)
    assert metering.attention_flops(SMALL, 1) == 49152


@pytest.mark.parametrize("cell", PUBLISHED, ids=str)
def test_floors_are_those_published(cell):
    assert decode_floor_rate(SMALL, cell, ZEN3, "float32") == pytest.approx(
        PUBLISHED[cell], rel=0.01
    )


def test_prefill_floor_is_that_published():
    cell = Cell(1024, 64, 64)
    assert prefill_floor_seconds(SMALL, cell, ZEN3, "float32") == pytest.approx(1.36, rel=0.01)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_steps_count_what_the_meter_counts(cell):
    """Of a whole call, less what the meter adds for writing the keys."""
    meter = metering.Meter(SMALL, cell.num_samples)
    meter.decode(
        samples=np.arange(cell.num_samples),
        segment_len=np.array([cell.prompt_len]),
        segment_rows=np.array([[0, cell.num_samples]]),
        suffix_len=np.ones(cell.num_samples, np.int64),
        num_steps=cell.new_tokens,
        seconds=1.0,
    )
    steps = range(cell.new_tokens)
    written = metering.key_value_bytes(SMALL, cell.num_samples * cell.new_tokens)
    read = int(meter.physical_bytes.sum()) - written
    assert sum(step_flops(SMALL, cell, step) for step in steps) == meter.decode_flops.sum()
    assert sum(step_bytes(SMALL, cell, step, "float32") for step in steps) == read


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_narrower_weights_and_faster_machines_never_raise_the_floor(cell):
    seconds = [decode_floor_seconds(SMALL, cell, ZEN3, d) for d in ("float32", "bfloat16", "int8")]
    assert seconds == sorted(seconds, reverse=True)
    twice = Rates(2 * ZEN3.gemm_flops_per_second, 2 * ZEN3.read_bytes_per_second)
    assert decode_floor_seconds(SMALL, cell, twice, "float32") == pytest.approx(seconds[0] / 2)
