"""Log-probabilities that a model gives to texts which it did not write.

    logprobs[i] = log softmax(logits after the context and continuation[:i])[continuation[i]]

Continuations of one context, and contexts that begin alike, share what they share as prompts do
(prefix_tree.py); what several requests feed the model whole is computed once.

Units:  natural logarithms.
Raises: ValueError naming the request that cannot be scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from t2engine.engine.batch import Piece, make_prefill_batch, pieces_of
from t2engine.engine.forward import Executor
from t2engine.engine.intake import require
from t2engine.engine.llm import LLM
from t2engine.engine.memory import CHUNK_TOKENS, MemoryPlan, Wish, plan_memory
from t2engine.engine.prefix_tree import PrefixTree
from t2engine.engine.progress import progress_bar
from t2engine.engine.requests import Group
from t2engine.engine.torch_threads import one_torch_thread

SEQUENCES_AT_ONCE = 32  # whose keys are held together


@dataclass(frozen=True)
class Score:
    """Of one continuation."""

    logprobs: tuple[float, ...]  # of its tokens
    is_greedy: bool  # every token was the most probable one

    @property
    def total(self) -> float:
        return sum(self.logprobs)


@dataclass
class _Sequence:
    """Tokens that the model reads, and who wants to know what it expects after which of them."""

    group: Group
    askers: list[tuple[int, int]] = field(default_factory=list)  # request, its context's length

    @property
    def first(self) -> int:
        """The first position whose logits anybody wants."""
        return min(context_len for _, context_len in self.askers) - 1


def score_continuations(
    llm: LLM,
    requests: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    progress: bool | None = None,
) -> list[Score]:
    """The score of every (context, continuation), given as token ids, in order.

    progress: draw a bar on stderr; None draws it when stderr is a terminal.
    """
    sequences = sequences_of(llm, requests)
    if not sequences:
        return []
    plan = plan_for(llm, sequences)
    llm.runtime.reserve(max(len(sequence.group.token_ids) for sequence in sequences))
    logprobs: list[list[float]] = [[] for _ in requests]
    greedy = [True] * len(requests)
    with (
        one_torch_thread(),
        torch.inference_mode(),
        progress_bar("scoring", len(sequences), progress) as advance,
    ):
        executor = llm.runtime.executor(plan)
        for wave in waves(sequences, plan.prefix_capacity):
            for asked, logits in expectations(executor, plan, wave, llm.runtime.chunk_tokens):
                targets = [requests[i][1][at] for _, i, at in asked]
                rows = torch.tensor([row for row, _, _ in asked])
                expected = logits.log_softmax(dim=-1)[rows, torch.tensor(targets)].tolist()
                best = logits.argmax(dim=-1)[rows].tolist()
                for (_, i, _), logprob, token, target in zip(
                    asked, expected, best, targets, strict=True
                ):
                    logprobs[i].append(logprob)
                    greedy[i] &= token == target
            for _ in wave:
                advance()
    return [Score(tuple(one), right) for one, right in zip(logprobs, greedy, strict=True)]


def sequences_of(
    llm: LLM, requests: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> list[_Sequence]:
    """Distinct ones; sorted, so that those which begin alike are neighbours."""
    config = llm.config
    found: dict[tuple[int, ...], _Sequence] = {}
    for i, (context, continuation) in enumerate(requests):
        whole = (*context, *continuation)
        require(bool(context), f"request {i} must have a context of at least one token, got none")
        require(bool(continuation), f"request {i} must have a continuation, got none")
        require(
            len(whole) - 1 <= config.max_context_len,
            f"request {i} must have at most {config.max_context_len + 1} tokens (the context of "
            f"the model, and one more), got {len(whole)}; shorten it",
        )
        outside = [token for token in whole if not 0 <= token < config.vocab_size]
        require(
            not outside,
            f"request {i}: token ids must be in [0, {config.vocab_size}), got {outside[:1]}",
        )
        read = whole[:-1]
        sequence = found.setdefault(read, _Sequence(Group(read, prompt_id=0)))
        sequence.askers.append((i, len(context)))
    return [found[key] for key in sorted(found)]


def plan_for(llm: LLM, sequences: Sequence[_Sequence]) -> MemoryPlan:
    return plan_memory(
        llm.config,
        llm.precision,
        llm.runtime.workspace_bytes,
        [Wish(sequence.group.token_ids, 1, 1, every_token=True) for sequence in sequences],
        SEQUENCES_AT_ONCE,
        llm.caches_limit(),
        chunk_tokens=llm.runtime.chunk_tokens or CHUNK_TOKENS,
        room_of_steps=llm.runtime.room_of_steps,
    )


def waves(sequences: Sequence[_Sequence], capacity: int) -> Iterator[list[_Sequence]]:
    """As many as the prefix store holds, and so on; each with its place in the tree."""
    tree = PrefixTree(capacity)
    wave: list[_Sequence] = []
    for sequence in sequences:
        group = sequence.group
        leaf = tree.insert(group.token_ids, sequence.first)
        if leaf is None:
            yield wave
            tree, wave = PrefixTree(capacity), []
            leaf = tree.insert(group.token_ids, sequence.first)
            assert leaf is not None, "the plan has room for the longest"
        group.leaf = leaf
        group.computed = len(group.token_ids) - len(leaf.tokens)
        wave.append(sequence)
    yield wave


def expectations(
    executor: Executor, plan: MemoryPlan, wave: Sequence[_Sequence], chunk_tokens: int | None
) -> Iterator[tuple[list[tuple[int, int, int]], Tensor]]:
    """Blocks of logits, with (row, request, position in its continuation) of each that asks."""
    of_group = {id(sequence.group): sequence for sequence in wave}
    for pieces in pieces_of([sequence.group for sequence in wave], chunk_tokens):
        wanted: list[int] = []
        askers: list[list[tuple[int, int]]] = []  # request, position; by wanted token
        for piece, first_row in zip(pieces, first_rows(pieces), strict=True):
            sequence = of_group[id(piece.group)]
            for at in range(max(piece.start, sequence.first), piece.stop):
                wanted.append(first_row + at - piece.start)
                askers.append(
                    [(i, at + 1 - length) for i, length in sequence.askers if at + 1 >= length]
                )
        batch = make_prefill_batch(pieces)
        hidden = executor.prefill(replace(batch, wanted=torch.tensor(wanted, dtype=torch.int64)))
        for first in range(0, len(wanted), plan.logit_rows):
            block = slice(first, first + plan.logit_rows)
            asked = [(row, i, at) for row, those in enumerate(askers[block]) for i, at in those]
            yield asked, executor.logits(hidden[block])


def first_rows(pieces: Sequence[Piece]) -> Iterator[int]:
    """Of each piece, among the tokens that go through the layers together."""
    row = 0
    for piece in pieces:
        yield row
        row += piece.stop - piece.start
