"""The memory plan: as large as fits, refused with its numbers when nothing does."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2engine import LLM, SamplingParams
from t2engine.engine.memory import Wish, plan_memory
from t2engine.metering import key_value_bytes
from t2engine.schema import ModelConfig

CONFIG = ModelConfig(
    family="llama",
    vocab_size=1000,
    hidden_size=64,
    intermediate_size=128,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    max_context_len=4096,
    norm_eps=1e-5,
    rope_theta=1e4,
    rotary_dim=16,
)
GIBIBYTE = 1 << 30


def test_one_prompt_is_held_once() -> None:
    plan = plan_memory(CONFIG, 1000, [Wish(1024, 64, 65)], 256, GIBIBYTE)
    assert (plan.slots, plan.prefix_capacity, plan.suffix_capacity) == (64, 1024, 64)
    assert plan.prefix_bytes == key_value_bytes(CONFIG, 1024)
    assert plan.suffix_bytes == 64 * key_value_bytes(CONFIG, 64)


def test_slots_shrink_until_they_fit() -> None:
    wishes = [Wish(100, 64, 1001)]
    roomy = plan_memory(CONFIG, 0, wishes, 256, GIBIBYTE)
    limit = roomy.total_bytes - roomy.suffix_bytes // 2
    plan = plan_memory(CONFIG, 0, wishes, 256, limit)
    assert plan.total_bytes <= limit
    assert 1 <= plan.slots < 64


def test_refusal_has_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"needs .* MiB \(weights .* expected at most 1\.0 MiB"):
        plan_memory(CONFIG, 0, [Wish(4000, 1, 5000)], 256, 1 << 20)


def test_a_call_that_cannot_fit_is_refused_before_it_starts(tiny_dir: Path) -> None:
    needs = LLM(tiny_dir).model.nbytes
    llm = LLM(tiny_dir, memory_limit=needs + (1 << 20))
    with pytest.raises(ValueError, match="memory plan does not fit"):
        llm.generate([[5] * 900], SamplingParams(n=64, max_tokens=100))
    with pytest.raises(ValueError, match="the weights of"):
        LLM(tiny_dir, memory_limit=1000)


def test_concurrent_prompts_have_room_for_their_keys() -> None:
    wishes = [Wish(length, 4, 10) for length in (10, 500, 30, 400, 20)]
    plan = plan_memory(CONFIG, 0, wishes, 8, GIBIBYTE)
    assert plan.prefix_capacity == 500 + 400 + 30  # two whole prompts and the start of a third
