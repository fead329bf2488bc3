"""The memory plan: as large as fits, refused with its numbers when nothing does."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2engine import LLM, SamplingParams
from t2engine.engine.memory import MemoryPlan, Wish, plan_memory
from t2engine.metering import key_value_bytes
from t2engine.schema import ModelConfig, Precision

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


def plan(wishes: list[Wish], max_num_seqs: int, limit: int = GIBIBYTE) -> MemoryPlan:
    return plan_memory(
        CONFIG, Precision(), lambda rows, logits: 100 * rows + logits, wishes, max_num_seqs, limit
    )


def wish(length: int, num_samples: int, max_new_tokens: int) -> Wish:
    return Wish(tuple(range(length)), num_samples, max_new_tokens)


def test_one_prompt_is_held_once() -> None:
    held = plan([wish(1024, 64, 65)], 256)
    assert (held.slots, held.prefix_capacity, held.suffix_capacity) == (64, 1024, 64)
    assert held.prefix_bytes == key_value_bytes(CONFIG, 1024)
    assert held.suffix_bytes == 64 * key_value_bytes(CONFIG, 64)


def test_slots_shrink_until_they_fit() -> None:
    roomy = plan([wish(100, 64, 1001)], 256)
    limit = roomy.total_bytes - roomy.suffix_bytes // 2
    tight = plan([wish(100, 64, 1001)], 256, limit)
    assert tight.total_bytes <= limit
    assert 1 <= tight.slots < 64


def test_refusal_has_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"needs .* MiB \(weights .* expected at most .* MiB"):
        plan([wish(4000, 1, 5000)], 256, 1 << 20)


def test_a_call_that_cannot_fit_is_refused_before_it_starts(tiny_dir: Path) -> None:
    needs = LLM(tiny_dir).model.nbytes
    llm = LLM(tiny_dir, memory_limit=needs + (1 << 20))
    with pytest.raises(ValueError, match="memory plan does not fit"):
        llm.generate([[5] * 900], SamplingParams(n=64, max_tokens=100))
    with pytest.raises(ValueError, match="the weights of"):
        LLM(tiny_dir, memory_limit=1000)


def test_concurrent_prompts_have_room_for_their_keys() -> None:
    lengths = (10, 500, 30, 400, 20)
    wishes = [Wish((length,) * length, 4, 10) for length in lengths]
    assert plan(wishes, 8).prefix_capacity == 500 + 400 + 30  # two prompts and the start of a third


def test_what_all_prompts_share_is_held_once() -> None:
    common = tuple(range(300))
    wishes = [Wish((*common, *[500 + i] * 50), 4, 10) for i in range(3)]
    assert plan(wishes, 64).prefix_capacity == 3 * 350 - 2 * 256
