"""The cost of one more sample: what is run beside it is the same step, and what is said of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.marginal import judge
from benchmarks.marginal.stage import SUFFIX_LEN, Stage, load
from benchmarks.peers.model import write_model
from t2engine.costs.steps import DecodeStep
from t2engine.schema import FLOAT32, Precision

PROMPT_LEN, SAMPLES = 150, 9
RATES = {"product": 2e11, "attention": 1e11, "read": 3e10}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("1M", tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("cache", ["float32", "bfloat16", "int8"])
def test_sharing_off_reads_a_copy_for_each_row(model_dir: Path, cache: str) -> None:
    stage = Stage(load(model_dir, Precision(cache=cache), 1), PROMPT_LEN, SAMPLES)
    assert stage.copies == SAMPLES
    for shared in (True, False):
        assert min(stage.visit(SAMPLES, shared, None)) > 0
        [step] = [s for s in stage.steps.stages if (s.num_prompts == 1) == shared]
        assert step == DecodeStep(SAMPLES, 1 if shared else SAMPLES, PROMPT_LEN, SUFFIX_LEN)
        batch = stage.steps.stages[step].batch
        assert len(batch.segment_rows) == step.num_prompts
        assert len({tuple(c) for c in batch.segment_columns.tolist()}) == step.num_prompts


def test_floor_is_the_larger_of_what_the_kernels_must_do(model_dir: Path) -> None:
    config = load(model_dir, FLOAT32, 1).model.config
    flops, read = judge.floors(config, FLOAT32, 1024, 32, 64, RATES)
    twice, more = judge.floors(config, FLOAT32, 1024, 32, 128, RATES)
    assert twice == pytest.approx(2 * flops)
    own_keys = 2 * 4 * config.num_kv_heads * config.head_dim * config.num_layers * 32
    assert more - read == pytest.approx(64 * own_keys / RATES["read"])
    small, _ = judge.floors(config, Precision("int8"), 1024, 32, 64, RATES)
    assert small == flops  # arithmetic is what the rates say it is


def test_points_are_medians_of_the_rounds_best() -> None:
    rounds = {"8": [[3.0, 2.0], [9.0], [4.0, 5.0]], "1": [[1.0]]}
    assert judge.curve(rounds) == {1: 1.0, 8: 4.0}


def test_a_line_grows_by_its_tiles_and_a_cliff_shows() -> None:
    steps = {k: 10 + 0.5 * k for k in (1, 2, 3, 8, 16, 32, 48, 64, 80, 96, 112, 128)}
    assert judge.row_seconds(steps) == pytest.approx(0.5)
    assert max(judge.jumps(steps).values()) == pytest.approx(1)
    assert judge.jumps(steps)[1, 2] == pytest.approx(1 / 16)
    cliff = {k: seconds + 20 * (k > 16) for k, seconds in steps.items()}
    found = judge.verdict(cliff, {k: (0.4 * k, 5.0) for k in cliff})
    assert found["largest_jump_from_to"] == [16, 32]
    assert found["largest_jump"] == pytest.approx((8 + 20) / 8)
    assert found["worst_ratio_at"] == 32
    assert found["worst_ratio"] == pytest.approx(46 / 12.8)
    assert "k = 16 to 32 (above one)" in judge.sentence(128, found)


def test_one_point_is_not_judged() -> None:
    found = judge.verdict({1: 1.0}, {1: (0.5, 0.5)})
    assert found["worst_ratio"] is found["largest_jump"] is None
    assert math.isnan(judge.row_seconds({1: 1.0}))
    assert "too few points" in judge.sentence(128, found)
