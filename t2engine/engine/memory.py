"""The memory plan: what a call will hold at most, decided and refused before any work starts.

    prefix columns + slots x suffix columns + workspace <= limit, the weights being there already

Slots are the samples decoded at once. They are as many as are wanted and fit; a call that cannot
have one is refused with the numbers.

Units:  bytes.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from t2engine.engine.prefix_tree import common_blocks_of_all
from t2engine.metering import key_value_bytes, weight_bytes
from t2engine.schema import ModelConfig, Precision

CHUNK_TOKENS = 256  # prompt tokens that go through the layers at once
LOGITS_PER_BLOCK = 1 << 24  # logits that exist at once: 64 MiB
LOOKED_AT = 4  # blocks of logits where they are looked at: raw, adjusted, and sorted
FIRST_ROWS = 16  # samples that draw their first tokens together
FLOAT_BYTES = 4
SHARE_OF_AVAILABLE = 0.9  # of the memory that is free now, where the user set no limit
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Wish:
    """What one distinct prompt asks for."""

    token_ids: tuple[int, ...]
    num_samples: int
    max_new_tokens: int
    every_token: bool = False  # logits are looked at outside the native step


@dataclass(frozen=True)
class MemoryPlan:
    slots: int  # samples decoded at once
    rows: int  # that go through the layers at once
    logit_rows: int  # whose logits exist at once
    prefix_capacity: int  # prompt tokens held at once
    suffix_capacity: int  # tokens a slot can add
    prefix_bytes: int
    suffix_bytes: int
    workspace_bytes: int

    @property
    def total_bytes(self) -> int:
        """All but the weights."""
        return self.prefix_bytes + self.suffix_bytes + self.workspace_bytes


def plan_memory(
    config: ModelConfig,
    precision: Precision,
    workspace_bytes: Callable[[int, int], int],
    wishes: list[Wish],
    max_num_seqs: int,
    limit: int,
    *,
    chunk_tokens: int = CHUNK_TOKENS,
    room_of_steps: Callable[[int], int] = int,
) -> MemoryPlan:
    """The largest plan that fits `limit`. Raises ValueError with the numbers when none does.

    workspace_bytes: what a pass needs for (rows, logit_rows). chunk_tokens: prompt tokens that go
    through the layers at once. room_of_steps: columns of a slot for so many steps.
    """
    suffix_capacity = room_of_steps(max(1, *(wish.max_new_tokens - 1 for wish in wishes)))
    slots = min(max_num_seqs, sum(wish.num_samples for wish in wishes))
    copies = LOOKED_AT if any(wish.every_token for wish in wishes) else 0
    while True:
        prefix_capacity = concurrent_prompt_tokens(wishes, slots)
        rows = max(slots, min(chunk_tokens, prefix_capacity))
        logit_rows = min(slots, max(1, LOGITS_PER_BLOCK // config.vocab_size))
        logits = FLOAT_BYTES * config.vocab_size * (copies * logit_rows + FIRST_ROWS)
        plan = MemoryPlan(
            slots=slots,
            rows=rows,
            logit_rows=logit_rows,
            prefix_capacity=prefix_capacity,
            suffix_capacity=suffix_capacity,
            prefix_bytes=key_value_bytes(config, prefix_capacity, precision),
            suffix_bytes=slots * key_value_bytes(config, suffix_capacity, precision),
            workspace_bytes=workspace_bytes(rows, logit_rows) + logits,
        )
        if plan.total_bytes <= limit:
            return plan
        if slots == 1:
            raise ValueError(refusal(plan, weight_bytes(config, precision), limit))
        slots = max(1, slots * 3 // 4)


def concurrent_prompt_tokens(wishes: list[Wish], slots: int) -> int:
    """Columns for the longest prompts that can be sampled at the same time.

    A prompt's samples start before the next prompt's, so all but the first and the last of the
    prompts that share the slots have all their samples there. What all prompts have in common is
    held once, however many run.
    """
    fewest = min(wish.num_samples for wish in wishes)
    at_once = min(len(wishes), -(-slots // fewest) + 1)
    lengths = sorted((len(wish.token_ids) for wish in wishes), reverse=True)[:at_once]
    shared = common_blocks_of_all([wish.token_ids for wish in wishes])
    return sum(lengths) - (at_once - 1) * shared


def refusal(plan: MemoryPlan, weights: int, limit: int) -> str:
    def mib(size: int) -> str:
        return f"{size / MEBIBYTE:,.1f}"

    return (
        f"memory plan does not fit: one sample at a time needs {mib(weights + plan.total_bytes)} "
        f"MiB (weights {mib(weights)}, prompt {mib(plan.prefix_bytes)} for "
        f"{plan.prefix_capacity} tokens, sample {mib(plan.suffix_bytes)} for "
        f"{plan.suffix_capacity} tokens, workspace {mib(plan.workspace_bytes)}), expected at most "
        f"{mib(weights + limit)} MiB; shorten the prompt or max_tokens, or raise memory_limit"
    )


def return_free_memory() -> None:
    """Give memory that was freed back to the system, where the C library (glibc) can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def available_bytes(mapped_bytes: int = 0) -> int:
    """Memory this process may still take: the machine's, or its control group's where less.

    mapped_bytes: of files, which the system counts as free (it could take them back), and we need.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = max(0, int(line.split()[1]) * 1024 - mapped_bytes)
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, max(0, int(text) - int(used.read_text())))
    return free
