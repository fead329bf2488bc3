"""What is to be sampled: requests as asked, and groups of them that share a prompt.

A sample is named by its request and index, and in arrays by its handle: the request's first handle
plus the index.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from t2engine.engine.prefix_tree import Segment
from t2engine.schema import SamplingParams

MAX_SEED = 2**64


@dataclass(frozen=True)
class Request:
    """One prompt with its parameters, everything drawn or defaulted filled in."""

    prompt: str | None
    token_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    end_ids: frozenset[int]  # tokens that end a sample
    max_new_tokens: int
    first_handle: int
    first_index: int = 0  # of the sample indices asked for


@dataclass
class Group:
    """Requests with the same prompt: its keys are computed, stored and read once for all."""

    token_ids: tuple[int, ...]
    prompt_id: int
    pending: deque[tuple[Request, int]] = field(default_factory=deque)  # samples not yet started
    handles: list[int] = field(default_factory=list)  # all samples
    slots: list[int] = field(default_factory=list)  # of the samples being decoded
    leaf: Segment | None = None  # its end in the prefix tree, while running
    computed: int = 0  # leading tokens whose keys are stored
    logits: Tensor | None = None  # [1, V] after the prompt, while samples are pending

    def path(self) -> list[Segment]:
        """The segments that hold its keys, in order."""
        assert self.leaf is not None, "the prompt is not running"
        return self.leaf.path()


def prompt_identity(token_ids: Sequence[int]) -> int:
    """64 bits that name a prompt in the random counter, the same on every machine."""
    data = np.asarray(token_ids, dtype="<i8").tobytes()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def signed(bits: int) -> int:
    """The int64 with the same 64 bits."""
    return bits - 2**64 if bits >= 2**63 else bits


def choose_seed(seed: int | None) -> int:
    return secrets.randbits(63) if seed is None else seed


def group_by_prompt(requests: Sequence[Request]) -> list[Group]:
    """One group for each distinct prompt, in order of first appearance."""
    groups: dict[tuple[int, ...], Group] = {}
    for request in requests:
        ids = request.token_ids
        group = groups.setdefault(ids, Group(ids, signed(prompt_identity(ids))))
        for i in range(request.params.n):
            group.pending.append((request, i))
            group.handles.append(request.first_handle + i)
    return list(groups.values())
