"""Floors of a GPU's decode step against the figures they were first computed to, and their laws."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.gpu.floors import (
    Ceilings,
    Step,
    attention_floor,
    bound,
    floor,
    prefix_read_per_sample,
    run_seconds,
)
from benchmarks.gpu.models import MODELS, model_config
from t2engine import metering
from tests.slab_cases import HEADS

H200 = Ceilings(copy_bytes_per_second=4.3e12, gemm_flops_per_second=790e12)
PUBLISHED = [  # model, k, P; seconds, tokens/s at the floor and with a prefix read per sample
    ("5M", 1024, 512, 158e-6, 6.5e6, 1.6e6),
    ("Qwen2.5-0.5B", 64, 2048, 287e-6, 223e3, 102e3),
    ("Qwen2.5-0.5B", 1024, 2048, 2.20e-3, 466e3, 134e3),
    ("Qwen3-0.6B", 1024, 2048, 6.15e-3, 167e3, 17e3),
    ("Llama-3.2-1B", 1024, 512, 4.41e-3, 232e3, 125e3),
    ("Llama-3.1-8B", 256, 2048, 6.50e-3, 39e3, 12e3),
]
ROUNDING = {"rel": 0.03}  # of two digits


@pytest.mark.parametrize(("model", "k", "P", "seconds", "rate", "unshared"), PUBLISHED)
def test_floors_are_those_published(model, k, P, seconds, rate, unshared):
    config, step = model_config(model), Step(k, P, 128)
    found = floor(config, step, H200).seconds
    assert found == pytest.approx(seconds, rel=0.005)
    assert k / found == pytest.approx(rate, **ROUNDING)
    alone = prefix_read_per_sample(config, step, H200).seconds
    assert k / alone == pytest.approx(unshared, **ROUNDING)


@pytest.mark.parametrize("model", MODELS)
def test_no_floor_is_below_the_bound(model):
    config, step = model_config(model), Step(1024, 2048, 128)
    assert bound(config, step, H200).seconds <= floor(config, step, H200).seconds


def test_products_turn_from_memory_to_arithmetic_near_184_samples():
    config = model_config("Qwen2.5-0.5B")
    weights = 2 * metering.matmul_params(config)
    for k, seconds in ((183, weights / 4.3e12), (185, weights * 185 / 790e12)):
        assert floor(config, Step(k, 0, 1), H200).products == pytest.approx(seconds)


def test_a_run_is_the_sum_of_its_steps():
    config = model_config("5M")
    steps = [floor(config, Step(64, 512, own), H200).seconds for own in (1, 2, 3)]
    assert run_seconds(config, 64, 512, 4, H200) == pytest.approx(sum(steps))


def test_a_layers_attention_is_its_share_of_the_models():
    config = model_config("Qwen3-0.6B")
    found = floor(config, Step(256, 2048, 128), H200)
    layer = attention_floor(256, 2048, 128, HEADS["Qwen3-0.6B"], H200)
    assert config.num_layers * layer == pytest.approx(found.prefix + found.suffix)


def test_twice_the_rates_are_half_the_floor():
    config, step = model_config("5M"), Step(100, 300, 20)
    twice = replace(H200, copy_bytes_per_second=8.6e12, gemm_flops_per_second=1580e12)
    assert floor(config, step, H200).seconds == pytest.approx(
        2 * floor(config, step, twice).seconds
    )


@pytest.mark.parametrize("model", HEADS)
def test_models_have_the_heads_of_the_shape_table(model):
    config = model_config(model)
    sharers = config.num_heads // config.num_kv_heads
    assert HEADS[model] == (config.num_kv_heads, sharers, config.head_dim)
