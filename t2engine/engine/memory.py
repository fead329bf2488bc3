"""The memory plan: what a call will hold at most, decided and refused before any work starts.

    weights + prefix columns + slots x suffix columns + workspace <= limit

Slots are the samples decoded at once. They are as many as are wanted and fit; a call that cannot
have one is refused with the numbers.

Units:  bytes.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

from t2engine.metering import FLOAT_BYTES, key_value_bytes
from t2engine.schema import ModelConfig

CHUNK_TOKENS = 256  # prompt tokens that go through the layers at once
LOGITS_PER_BLOCK = 1 << 24  # logits that exist at once: 64 MiB
SHARE_OF_AVAILABLE = 0.9  # of the memory that is free now, where the user set no limit
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Wish:
    """What one distinct prompt asks for."""

    prompt_len: int
    num_samples: int
    max_new_tokens: int


@dataclass(frozen=True)
class MemoryPlan:
    slots: int  # samples decoded at once
    prefix_capacity: int  # prompt tokens held at once
    suffix_capacity: int  # tokens a slot can add
    weight_bytes: int
    prefix_bytes: int
    suffix_bytes: int
    workspace_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weight_bytes + self.prefix_bytes + self.suffix_bytes + self.workspace_bytes


def plan_memory(
    config: ModelConfig, weight_bytes: int, wishes: list[Wish], max_num_seqs: int, limit: int
) -> MemoryPlan:
    """The largest plan that fits `limit`. Raises ValueError with the numbers when none does."""
    suffix_capacity = max(1, *(wish.max_new_tokens - 1 for wish in wishes))
    slots = min(max_num_seqs, sum(wish.num_samples for wish in wishes))
    while True:
        prefix_capacity = concurrent_prompt_tokens(wishes, slots)
        plan = MemoryPlan(
            slots=slots,
            prefix_capacity=prefix_capacity,
            suffix_capacity=suffix_capacity,
            weight_bytes=weight_bytes,
            prefix_bytes=key_value_bytes(config, prefix_capacity),
            suffix_bytes=slots * key_value_bytes(config, suffix_capacity),
            workspace_bytes=workspace_bytes(config, slots),
        )
        if plan.total_bytes <= limit:
            return plan
        if slots == 1:
            raise ValueError(refusal(plan, limit))
        slots = max(1, slots * 3 // 4)


def concurrent_prompt_tokens(wishes: list[Wish], slots: int) -> int:
    """Columns for the longest prompts that can be sampled at the same time.

    A prompt's samples start before the next prompt's, so all but the first and the last of the
    prompts that share the slots have all their samples there.
    """
    fewest = min(wish.num_samples for wish in wishes)
    at_once = min(len(wishes), -(-slots // fewest) + 1)
    return sum(sorted((wish.prompt_len for wish in wishes), reverse=True)[:at_once])


def workspace_bytes(config: ModelConfig, slots: int) -> int:
    """Activations of the widest forward pass and one block of logits, with its sorted copy."""
    rows = max(slots, CHUNK_TOKENS)
    mlp_width = config.intermediate_size * (3 if config.gated_mlp else 2)
    query_width = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
    activations = rows * (4 * config.hidden_size + mlp_width + 3 * query_width)
    logits = min(slots * config.vocab_size, max(LOGITS_PER_BLOCK, config.vocab_size))
    return FLOAT_BYTES * (activations + 3 * logits)


def refusal(plan: MemoryPlan, limit: int) -> str:
    def mib(size: int) -> str:
        return f"{size / MEBIBYTE:,.1f}"

    return (
        f"memory plan does not fit: one sample at a time needs {mib(plan.total_bytes)} MiB "
        f"(weights {mib(plan.weight_bytes)}, prompt {mib(plan.prefix_bytes)} for "
        f"{plan.prefix_capacity} tokens, sample {mib(plan.suffix_bytes)} for "
        f"{plan.suffix_capacity} tokens, workspace {mib(plan.workspace_bytes)}), expected at most "
        f"{mib(limit)} MiB; shorten the prompt or max_tokens, or raise memory_limit"
    )


def return_free_memory() -> None:
    """Give memory that was freed back to the system, where the C library (glibc) can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def available_bytes() -> int:
    """Memory this process may still take: the machine's, or its control group's where less."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, max(0, int(text) - int(used.read_text())))
    return free
