"""Decode steps whose rows a device pads: priced as the step that really runs, keys aside."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from t2engine.costs.ladder import ladder_shape
from t2engine.costs.profile import buckets_from
from t2engine.costs.steps import DecodeStep, PrefillStep, Step, StepTable, tabulate
from t2engine.engine.device_stage import BUCKETS, bucket
from t2engine.schema import FLOAT32

MODEL = (ladder_shape(64), FLOAT32)
OF_KEYS = {"prefix_flops", "prefix_bytes", "prefix_queries", "suffix_flops", "suffix_bytes"}


def table(step: Step, buckets: tuple[int, ...]) -> StepTable:
    return tabulate([MODEL], [step], 256, buckets)


@pytest.mark.parametrize("rows", [1, 3, 64, 65, 1000, 4096])
def test_a_step_costs_what_its_bucket_costs_but_for_keys(rows: int) -> None:
    step = DecodeStep(rows, 1, 100, 10)
    got, bare = table(step, BUCKETS), table(step, ())
    whole = table(DecodeStep(bucket(rows), 1, 100, 10), ())
    for field in fields(StepTable):
        want = bare if field.name in OF_KEYS else whole
        assert np.array_equal(getattr(got, field.name), getattr(want, field.name)), field.name


def test_beyond_the_largest_bucket_and_in_prefills_nothing_is_padded() -> None:
    for step in (DecodeStep(9, 3, 100, 10), PrefillStep(3)):
        assert np.array_equal(table(step, (4, 8)).rows, table(step, ()).rows)


@pytest.mark.parametrize("values", [[4, 2], [2, 2], [0, 1], [1.5], [True, 2], ["1"]])
def test_buckets_of_a_file_are_whole_and_rise(values: list) -> None:
    with pytest.raises(ValueError, match="row_buckets must be whole numbers in rising order"):
        buckets_from(values)


def test_buckets_of_a_file() -> None:
    assert buckets_from([]) == ()
    assert buckets_from([1, 2, 64]) == (1, 2, 64)
