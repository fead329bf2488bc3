from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2engine import metering
from t2engine.costs.ladder import ladder_shape
from t2engine.costs.steps import DecodeStep, PrefillStep, tabulate
from t2engine.metering import Meter
from t2engine.schema import Precision

CONFIG = ladder_shape(128, vocab_size=1000)
NEOX = replace(CONFIG, gated_mlp=False, num_kv_heads=CONFIG.num_heads)
PRECISIONS = (
    Precision("float32", "float32"),
    Precision("bfloat16", "int8"),
    Precision("int8", "bfloat16"),
)
CHUNK = 64


@pytest.mark.parametrize("config", [CONFIG, NEOX], ids=["gated", "plain"])
@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
@pytest.mark.parametrize("step", [DecodeStep(1, 1, 1, 1), DecodeStep(12, 3, 50, 7)], ids=str)
def test_a_decode_step_is_what_the_meter_counts(config, precision, step) -> None:
    n, prompts = step.num_samples, step.num_prompts
    meter = Meter(config, n, precision)
    bounds = np.arange(prompts + 1) * n // prompts
    meter.decode(
        np.arange(n),
        np.full(prompts, step.prefix_len),
        np.stack([bounds[:-1], bounds[1:]], 1),
        np.full(n, step.suffix_len),
        num_steps=1,
        seconds=0.0,
    )
    table = tabulate([(config, precision)], [step], CHUNK)
    assert table.flops[0] == meter.decode_flops.sum()
    assert table.bytes[0] == meter.physical_bytes.sum()


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
@pytest.mark.parametrize("prompt_len", [1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK])
def test_a_prefill_is_what_the_meter_counts(precision, prompt_len) -> None:
    """But for the weights, which every pass reads and the meter charges a prompt with once."""
    meter = Meter(CONFIG, 1, precision)
    sample = np.zeros(1, np.int64)
    meter.prompt(sample)
    for start in range(0, prompt_len, CHUNK):
        meter.prefill(sample, start, min(start + CHUNK, prompt_len), seconds=0.0)
    table = tabulate([(CONFIG, precision)], [PrefillStep(prompt_len)], CHUNK)
    passes = -(-prompt_len // CHUNK)
    head = metering.head_product(CONFIG).bytes(precision)
    again = (passes - 1) * (metering.weight_bytes(CONFIG, precision) - head)
    assert table.flops[0] == meter.prefill_flops.sum()
    assert table.passes[0] == table.prefill_passes[0] == passes
    assert table.bytes[0] == meter.physical_bytes.sum() + again


def test_sharing_saves_reads_and_no_flops() -> None:
    steps = [DecodeStep(16, prompts, 100, 5) for prompts in (1, 4, 16)]
    table = tabulate([(CONFIG, PRECISIONS[0])] * 3, steps, CHUNK)
    assert len(set(table.flops.tolist())) == 1
    one_prompt = metering.key_value_bytes(CONFIG, 100)
    assert np.diff(table.bytes).tolist() == [3 * one_prompt, 12 * one_prompt]


def test_rows_of_a_table_do_not_depend_on_their_company() -> None:
    steps = [DecodeStep(3, 1, 9, 2), PrefillStep(CHUNK + 1), DecodeStep(5, 5, 9, 2)]
    models = [(CONFIG, precision) for precision in PRECISIONS]
    together = tabulate(models, steps, CHUNK)
    for i, (model, step) in enumerate(zip(models, steps, strict=True)):
        alone = tabulate([model], [step], CHUNK)
        assert alone.flops[0] == together.flops[i]
        assert alone.bytes[0] == together.bytes[i]
        assert together.take(np.array([i])).bytes[0] == alone.bytes[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DecodeStep(0, 1, 1, 1), "num_samples must be at least 1, got 0"),
        (lambda: DecodeStep(2, 3, 1, 1), r"num_prompts must be at most num_samples \(2\), got 3"),
        (lambda: DecodeStep(2, 1, 0, 1), "prefix_len must be at least 1"),
        (lambda: DecodeStep(2, 1, 1, float("nan")), "suffix_len must be at least 1, got nan"),
        (lambda: PrefillStep(0), "prompt_len must be at least 1"),
    ],
)
def test_impossible_steps_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
