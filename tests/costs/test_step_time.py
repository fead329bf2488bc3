from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from t2engine.costs.ladder import ladder_shape
from t2engine.costs.step_time import (
    KNOTS,
    StepRates,
    monotone_cubic,
    read_bandwidth,
    row_efficiency,
    smooth_maximum,
    step_parts,
    step_seconds,
)
from t2engine.costs.steps import DecodeStep, PrefillStep, Step, tabulate
from t2engine.schema import FLOAT32

RATES = StepRates(
    product_flops_per_second=3e11,
    half_in_features=50.0,
    half_out_features=30.0,
    efficiency_1=0.15,
    efficiency_4=0.4,
    efficiency_16=0.7,
    efficiency_64=0.9,
    efficiency_1024=1.05,
    product_exponent=4.0,
    memory_bytes_per_second=2e10,
    cache_bytes_per_second=5e10,
    cache_bytes=3e7,
    attention_flops_per_second=2e11,
    half_queries=8.0,
    suffix_flops_per_second=1e11,
    causal_flops_per_second=3e11,
    pair_seconds=2e-10,
    attention_exponent=3.0,
    pass_seconds=1e-6,
    prefill_seconds=1e-4,
    layer_seconds=1e-6,
    row_seconds=1e-7,
    head_seconds=1e-7,
    segment_seconds=5e-7,
    feature_seconds=1e-9,
    logit_seconds=1e-9,
)
CONFIG = ladder_shape(256)


def seconds(*steps: Step, rates: StepRates = RATES, hidden_size: int = 256) -> np.ndarray:
    models = [(ladder_shape(hidden_size), FLOAT32)] * len(steps)
    return step_seconds(rates, tabulate(models, list(steps), 256))


counts = st.integers(1, 512)
factors = st.lists(st.floats(-3, 3), min_size=26, max_size=26)


@given(counts, counts, counts, factors)
def test_more_of_anything_takes_longer(n: int, prefix: int, suffix: int, wild: list[float]) -> None:
    """Whatever the rates: each is up to 20 times more or less than those above."""
    rates = StepRates(*(RATES.vector() * np.exp(wild)).tolist())
    base, *more = seconds(
        DecodeStep(n, 1, prefix, suffix),
        DecodeStep(n + 1, 1, prefix, suffix),
        DecodeStep(n, 1, prefix + 1, suffix),
        DecodeStep(n, 1, prefix, suffix + 1),
        DecodeStep(n, n, prefix, suffix),
        rates=rates,
    )
    assert all(longer >= base for longer in more)


@given(st.integers(2, 4096))
def test_a_longer_prompt_takes_longer(prompt_len: int) -> None:
    shorter, longer = seconds(PrefillStep(prompt_len - 1), PrefillStep(prompt_len))
    # A last pass of one row more than a whole one begins another pass.
    assert longer > shorter


def test_parts_are_the_whole() -> None:
    steps: list[Step] = [DecodeStep(8, 2, 100, 5), PrefillStep(300)]
    table = tabulate([(CONFIG, FLOAT32)] * 2, steps, 256)
    parts = step_parts(RATES, table)
    total = sum(getattr(parts, field.name) for field in fields(parts))
    assert total == pytest.approx(step_seconds(RATES, table))
    assert parts.causal[0] == parts.prefix[1] == parts.suffix[1] == 0


def test_a_large_step_runs_at_the_rate_of_products() -> None:
    """Overheads and attention gone, widths and rows large: FLOPs over the peak."""
    limit = replace(RATES, half_in_features=1e-9, half_out_features=1e-9, product_exponent=12.0)
    config = ladder_shape(4096)
    table = tabulate([(config, FLOAT32)], [DecodeStep(256, 1, 1, 1)], 256)
    products = (table.count * table.product_flops).sum()
    assert step_parts(limit, table).products[0] == pytest.approx(products / 3e11, rel=1e-3)


def test_one_sample_of_a_large_model_is_read_at_memorys_bandwidth() -> None:
    config = ladder_shape(4096)
    fast = replace(RATES, product_flops_per_second=1e16, product_exponent=12.0)
    table = tabulate([(config, FLOAT32)], [DecodeStep(1, 1, 1, 1)], 256)
    weights = (table.count * table.product_bytes).sum()
    assert step_parts(fast, table).products[0] == pytest.approx(weights / 2e10, rel=1e-3)


def test_bandwidth_slides_from_the_caches_to_memory() -> None:
    size = np.array([1e3, 3e7, 1e12])
    low, middle, high = read_bandwidth(RATES, size)
    assert low == pytest.approx(5e10, rel=1e-3)
    assert middle == pytest.approx(np.sqrt(5e10 * 2e10))
    assert high == pytest.approx(2e10, rel=1e-3)


def test_row_efficiency_goes_through_its_knots_and_stays_beyond() -> None:
    given_at = [0.15, 0.4, 0.7, 0.9, 1.0, 1.05]
    assert row_efficiency(RATES, np.array(KNOTS, float)) == pytest.approx(given_at)
    assert row_efficiency(RATES, np.array([4096.0])) == pytest.approx(1.05)
    between = row_efficiency(RATES, np.geomspace(1, 1024, 200))
    assert np.all(np.diff(between) > 0)


@given(st.lists(st.integers(-300, 300).map(lambda x: x / 100), min_size=6, max_size=6))
def test_the_spline_is_scipys_between_its_ends(values: list[float]) -> None:
    """Its inner slopes are those of PCHIP; it differs where a knot at the end has a say."""
    x, y = np.log(KNOTS), np.array(values)
    at = np.linspace(x[1], x[-2], 50)
    want = PchipInterpolator(x, y)(at)
    assert monotone_cubic(x, y, at) == pytest.approx(want, rel=1e-9, abs=1e-9)
    assert monotone_cubic(x, y, x) == pytest.approx(y, rel=1e-9, abs=1e-9)
    everywhere = monotone_cubic(x, y, np.linspace(x[0], x[-1], 200))
    assert everywhere.min() >= y.min() - 1e-9
    assert everywhere.max() <= y.max() + 1e-9


@given(st.floats(0, 1e3), st.floats(0, 1e3), st.floats(1, 50))
def test_a_smooth_maximum_lies_between_maximum_and_sum(a: float, b: float, p: float) -> None:
    value = float(smooth_maximum(np.array([a]), np.array([b]), p)[0])
    assert max(a, b) * (1 - 1e-12) <= value <= (a + b) * (1 + 1e-12)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_numbers_that_cannot_be_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="row_seconds must be above 0 and finite"):
        replace(RATES, row_seconds=value)
