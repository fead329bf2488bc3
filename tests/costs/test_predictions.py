from __future__ import annotations

from dataclasses import replace

import pytest

from t2engine.costs.ladder import ladder, ladder_shape
from t2engine.costs.predictions import Estimate, MachineCosts
from t2engine.costs.profile import HardwareProfile, build_profile
from tests.costs.synthetic import synthetic_measurements

CONFIG = ladder_shape(256)


@pytest.fixture(scope="module")
def profile() -> HardwareProfile:
    return build_profile(synthetic_measurements(seed=0, noise=0.03))


@pytest.fixture(scope="module")
def costs(profile: HardwareProfile) -> MachineCosts:
    return MachineCosts(profile, "float32")


def is_an_interval(estimate: Estimate) -> bool:
    typical = estimate.low < estimate.seconds < estimate.high
    return typical and estimate.run_low <= estimate.low and estimate.high <= estimate.run_high


def test_every_prediction_has_an_interval(costs: MachineCosts) -> None:
    for estimate in (
        costs.prefill(CONFIG, 100),
        costs.decode_step(CONFIG, 8, 100, 5),
        costs.decode(CONFIG, 8, 100, 20),
        costs.call(CONFIG, 8, 100, 20),
        costs.training_step(CONFIG, 8, 64),
        costs.training(CONFIG, 1e6, 8, 64),
    ):
        assert is_an_interval(estimate)
        assert estimate.flops > 0
        assert estimate.bytes > 0


def test_a_rung_is_itself_and_between_rungs_lies_between(costs: MachineCosts) -> None:
    (low_N, low), (high_N, high) = ladder(costs.vocab_size)[8:10]
    at = [costs.decode_step(model, 8, 100, 5).seconds for model in (low, high)]
    assert costs.decode_step(low_N, 8, 100, 5).seconds == pytest.approx(at[0])
    assert costs.decode_step(high_N, 8, 100, 5).seconds == pytest.approx(at[1])
    middle = costs.decode_step((low_N * high_N) ** 0.5, 8, 100, 5).seconds
    assert middle == pytest.approx((at[0] * at[1]) ** 0.5)


def test_a_call_is_its_prefill_and_its_decoding(costs: MachineCosts) -> None:
    call = costs.call(CONFIG, 8, 100, 20)
    parts = costs.prefill(CONFIG, 100), costs.decode(CONFIG, 8, 100, 20)
    assert call.seconds == pytest.approx(sum(part.seconds for part in parts))
    assert call.flops == pytest.approx(sum(part.flops for part in parts))


def test_decoding_is_the_sum_of_its_steps(costs: MachineCosts) -> None:
    """Three nodes of the rule stand for all the steps of a sample."""
    steps = [costs.decode_step(CONFIG, 8, 100, 1 + i).seconds for i in range(49)]
    assert costs.decode(CONFIG, 8, 100, 50).seconds == pytest.approx(sum(steps), rel=1e-3)
    flops = [costs.decode_step(CONFIG, 8, 100, 1 + i).flops for i in range(49)]
    assert costs.decode(CONFIG, 8, 100, 50).flops == pytest.approx(sum(flops), rel=1e-9)


def test_a_sample_of_one_token_needs_no_step(costs: MachineCosts) -> None:
    assert costs.decode(CONFIG, 8, 100, 1).seconds == 0


def test_one_more_sample_costs_less_than_the_first(costs: MachineCosts) -> None:
    alone = costs.call(CONFIG, 1, 1000, 20).seconds
    assert 0 < costs.one_more(CONFIG, 8, 1000, 20) < alone / 2


def test_sharing_is_never_dearer(costs: MachineCosts) -> None:
    for n in (2, 16, 256):
        shared = costs.decode_step(CONFIG, n, 2048, 16).seconds
        assert costs.decode_step(CONFIG, n, 2048, 16, num_prompts=n).seconds > shared


def test_beyond_what_was_measured_intervals_widen_and_it_is_said(costs: MachineCosts) -> None:
    inside = costs.decode_step(CONFIG, 8, 100, 5)
    outside = costs.decode_step(ladder_shape(2048), 8, 100, 5)
    assert inside.beyond == ()
    assert {"hidden_size", "num_layers"} <= set(outside.beyond)
    assert outside.high / outside.seconds > inside.high / inside.seconds


def test_what_memory_cannot_hold_is_refused_with_numbers(costs: MachineCosts) -> None:
    with pytest.raises(ValueError, match=r"memory: 1,000,000 samples .* GiB for keys and values"):
        costs.decode_step(CONFIG, 1_000_000, 100, 500)
    with pytest.raises(ValueError, match=r"memory: a prompt of 100,000,000 tokens"):
        costs.prefill(CONFIG, 100_000_000)


def test_a_precision_that_was_not_measured_is_refused(profile: HardwareProfile) -> None:
    with pytest.raises(ValueError, match="not float16/float32; calibrate again with --precision"):
        MachineCosts(profile, "float16")
    with pytest.raises(ValueError, match="weights one of float32"):
        MachineCosts(profile, "float64")


def test_a_profile_without_training_prices_none(profile: HardwareProfile) -> None:
    costs = MachineCosts(replace(profile, training=None), "float32")
    with pytest.raises(ValueError, match="no training steps"):
        costs.training_step(CONFIG, 8, 64)
