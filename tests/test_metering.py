"""The meter against torch's FLOP counter, and against the laws that sharing must obey."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from t2engine import LLM, SamplingParams, metering
from t2engine.model.config import read_config
from t2engine.model.llama import build_optimizer, initialise
from t2engine.model.weights import open_weights
from t2engine.schema import ModelConfig
from tests.engine.harness import load_theirs
from tests.model.tiny import TINY_MODELS, write_tiny_model

CONFIG = ModelConfig(
    family="llama",
    vocab_size=320,
    hidden_size=64,
    intermediate_size=112,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    max_context_len=1024,
    norm_eps=1e-5,
    rope_theta=1e4,
    rotary_dim=16,
)


def test_prefill_is_the_sum_of_its_decode_steps() -> None:
    """Less the logits, which a prompt needs at its end only."""
    steps = sum(metering.decode_flops(CONFIG, t + 1) for t in range(7))
    assert metering.prefill_flops(CONFIG, 7) == steps - 6 * 2 * metering.head_params(CONFIG)


@torch.inference_mode()
def counted_flops(model: torch.nn.Module, num_tokens: int, cached: int = 0) -> int:
    """FlopCounterMode over transformers' forward pass with logits for the last token."""
    past = None
    if cached:
        past = model(torch.full((1, cached), 5), use_cache=True).past_key_values
    # Newer releases of transformers (5.24 is one) call it `cache` and warn of the older name.
    name = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
    with FlopCounterMode(display=False) as counter:
        model(torch.full((1, num_tokens), 5), **{name: past}, logits_to_keep=1)
    return counter.get_total_flops()


def known_differences(config: ModelConfig, num_tokens: int, cached: int) -> int:
    """What torch counts beyond the model's own work: the future half of the causal square."""
    square = num_tokens * (num_tokens + cached)
    causal = num_tokens * cached + num_tokens * (num_tokens + 1) // 2
    return metering.attention_flops(config, square - causal)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_flops_equal_torchs_counter(tmp_path: Path, name: str) -> None:
    family, overrides = TINY_MODELS[name]
    write_tiny_model(tmp_path, family, **overrides)
    config, theirs = read_config(tmp_path), load_theirs(tmp_path)
    for length in (1, 17, 100):
        extra = known_differences(config, length, 0)
        assert metering.prefill_flops(config, length) == counted_flops(theirs, length) - extra
        extra = known_differences(config, 1, length)
        assert metering.decode_flops(config, length + 1) == counted_flops(theirs, 1, length) - extra


@pytest.mark.parametrize("name", TINY_MODELS)
def test_parameters_are_those_of_the_files(tmp_path: Path, name: str) -> None:
    family, overrides = TINY_MODELS[name]
    write_tiny_model(tmp_path, family, **overrides)
    config = read_config(tmp_path)
    assert metering.parameter_count(config) == open_weights(tmp_path, config).num_params


@pytest.mark.parametrize("name", TINY_MODELS)
def test_training_flops_equal_torchs_counter(tmp_path: Path, name: str) -> None:
    """Forward and backward; torch counts the future half of the causal square in both."""
    family, overrides = TINY_MODELS[name]
    write_tiny_model(tmp_path, family, **overrides)
    config, theirs = read_config(tmp_path), load_theirs(tmp_path)
    for batch_size, length in ((1, 1), (3, 17), (2, 100)):
        token_ids = torch.full((batch_size, length), 5)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            theirs(token_ids).logits.sum().backward()
        extra = 3 * batch_size * known_differences(config, length, 0)
        counted = counter.get_total_flops() - extra
        assert metering.training_flops(config, batch_size, length) == counted


def test_training_flops_of_the_model_that_is_trained() -> None:
    config = replace(CONFIG, tied_embeddings=True)
    model = initialise(config, seed=0)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        torch.autograd.backward(model(torch.full((3, 50), 5)).sum())
    extra = 3 * 3 * known_differences(config, 50, 0)
    assert metering.training_flops(config, 3, 50) == counter.get_total_flops() - extra


@given(rows=st.integers(1, 1000), length=st.integers(1, 1000))
def test_a_row_is_trained_at_three_times_its_decoding(rows: int, length: int) -> None:
    one = 3 * sum(metering.decode_flops(CONFIG, t + 1) for t in range(length))
    assert metering.training_flops(CONFIG, rows, length) == rows * one


def test_training_bytes_are_ten_passes_over_the_parameters() -> None:
    """What the optimiser's state and the model hold is passed over, each tensor so many times."""
    model = initialise(replace(CONFIG, tied_embeddings=True), seed=0)
    optimizer = build_optimizer(model, betas=(0.9, 0.98), weight_decay=0.1)
    torch.autograd.backward(model(torch.full((1, 5), 5)).sum())
    optimizer.step()
    weights = sum(w.nbytes for w in model.parameters())
    gradients = sum(w.grad.nbytes for w in model.parameters())
    states = (value for state in optimizer.state.values() for value in state.values())
    moments = sum(value.nbytes for value in states if value.dim())
    expected = 4 * weights + 2 * gradients + 2 * moments
    assert metering.training_bytes(replace(CONFIG, tied_embeddings=True)) == expected


def test_a_sample_costs_what_was_executed(llm: LLM) -> None:
    """The first token comes from the prompt's own pass; each later one is a decode step."""
    params = SamplingParams(n=4, seed=0, max_tokens=9, ignore_eos=True)
    output = llm.generate([[5] * 33], params)[0]
    decode = sum(metering.decode_flops(llm.config, 33 + t) for t in range(1, 9))
    assert [sample.cost.decode_flops for sample in output.outputs] == [decode] * 4
    assert output.cost.prefill_flops == metering.prefill_flops(llm.config, 33)
    assert output.cost.waste_flops == 0


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4, unique=True),
    n=st.integers(1, 9),
    slots=st.integers(1, 12),
)
def test_laws_of_sharing(tiny_dir: Path, lengths: list[int], n: int, slots: int) -> None:
    llm = LLM(tiny_dir, max_num_seqs=slots)
    params = SamplingParams(n=n, seed=0, max_tokens=6, temperature=3.0)
    outputs = llm.generate([[5] * length for length in lengths], params)
    for output in outputs:
        costs = [sample.cost for sample in output.outputs]
        assert metering.total(costs) == output.cost
        assert output.cost.prefill_flops == metering.prefill_flops(
            llm.config, len(output.prompt_token_ids)
        )
        for cost in costs:
            assert cost.physical_bytes <= cost.logical_bytes
            if n == 1:
                assert cost.physical_bytes == cost.logical_bytes


def test_sharing_saves_prefix_reads_and_no_flops(llm: LLM) -> None:
    params = SamplingParams(n=6, seed=0, max_tokens=5, ignore_eos=True)
    output = llm.generate([[5] * 50], params)[0]
    steps = 4
    saved = (6 - 1) * steps * metering.key_value_bytes(llm.config, 50)
    assert output.cost.logical_bytes - output.cost.physical_bytes == saved
    alone = llm.generate([[5] * 50], SamplingParams(n=1, seed=0, max_tokens=5, ignore_eos=True))
    assert output.cost.decode_flops == 6 * alone[0].cost.decode_flops


def test_physical_bytes_are_the_steps_own(llm: LLM) -> None:
    """Every step reads the weights and the prefix once, and each row's own keys."""
    params = SamplingParams(n=3, seed=0, max_tokens=4, ignore_eos=True)
    output = llm.generate([[5] * 20], params)[0]
    one = metering.key_value_bytes(llm.config, 1)
    steps = [metering.weight_bytes(llm.config) + one * (20 + 3 * (t + 1)) for t in range(1, 4)]
    expected = metering.prefill_bytes(llm.config, 20) + sum(steps)
    assert output.cost.physical_bytes == expected


def test_identical_prompts_are_one_group(llm: LLM) -> None:
    params = SamplingParams(n=2, seed=0, max_tokens=3, ignore_eos=True)
    first, second = llm.generate([[5] * 20, [5] * 20], params)
    both = first.cost.prefill_flops + second.cost.prefill_flops
    assert both == metering.prefill_flops(llm.config, 20)


@given(total=st.integers(0, 10**18), parts=st.integers(1, 1000))
def test_split_is_exact(total: int, parts: int) -> None:
    shares = metering.split(total, parts)
    assert int(shares.sum()) == total
    assert int(shares.max() - shares.min()) <= 1
