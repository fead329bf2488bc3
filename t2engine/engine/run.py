"""One call's decode loop: prefill, fan out, decode, finish, refill, until every sample is done.

Each step decodes one token of every active row. Rows change only when a sample starts or finishes;
between such moments the batch, its parameters and its index tensors stand still, and the meter is
told once for the whole stretch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from t2engine.engine.cache import PrefixStore, SuffixStore
from t2engine.engine.forward import Batch, decode, make_batch, prefill
from t2engine.engine.memory import (
    CHUNK_TOKENS,
    LOGITS_PER_BLOCK,
    MemoryPlan,
    return_free_memory,
)
from t2engine.engine.requests import Request, group_by_prompt
from t2engine.engine.sampling import (
    Drawn,
    RowParams,
    SlotParams,
    adjust_logits,
    changes_logits,
    record_logprobs,
)
from t2engine.engine.scheduler import Assignment, Scheduler
from t2engine.engine.stopping import StopChecker
from t2engine.metering import Meter
from t2engine.model.tokenizer import Tokenizer
from t2engine.model.transformer import Transformer
from t2engine.schema import Logprob


@dataclass
class Sample:
    """A sample being decoded."""

    assignment: Assignment
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[dict[int, Logprob]] = field(default_factory=list)
    stopping: StopChecker | None = None  # only where there are stop strings
    finish_reason: str | None = None
    stop_reason: int | str | None = None

    @property
    def request(self) -> Request:
        return self.assignment[1]

    @property
    def index(self) -> int:
        return self.assignment[2]

    @property
    def handle(self) -> int:
        return self.request.first_handle + self.index


class Run:
    """The state of one call. `finished()` yields samples in the order in which they end."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        requests: Sequence[Request],
        plan: MemoryPlan,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.prefix = PrefixStore(model.config, plan.prefix_capacity)
        self.suffix = SuffixStore(model.config, plan.slots, plan.suffix_capacity)
        self.scheduler = Scheduler(group_by_prompt(requests), plan.slots, self.prefix)
        self.meter = Meter(model.config, sum(request.params.n for request in requests))
        self.params = SlotParams(plan.slots)
        self.samples: dict[int, Sample] = {}  # by slot
        self.last_token = torch.zeros(plan.slots, dtype=torch.int64)
        self.num_tokens = torch.zeros(plan.slots, dtype=torch.int64)  # drawn, by slot

    def finished(self) -> Iterator[Sample]:
        while True:
            yield from self.start_samples()
            if self.samples:
                yield from self.decode_stretch()
            elif not self.scheduler.waiting and not self.scheduler.running:
                return

    def start_samples(self) -> Iterator[Sample]:
        """Prefill new prompts and draw the first token of every sample that gets a slot."""
        groups = self.scheduler.start_groups()
        if groups:
            began = time.perf_counter()
            prefill(self.model, self.prefix, groups)
            seconds = time.perf_counter() - began
            tokens = sum(len(group.token_ids) for group in groups)
            if tokens >= CHUNK_TOKENS:
                return_free_memory()  # the samples' keys take the place of these activations
            for group in groups:
                length = len(group.token_ids)
                self.meter.prefill(np.array(group.handles), length, seconds * length / tokens)
        began = time.perf_counter()
        assignments = self.scheduler.assign()
        if not assignments:
            return
        done = self.draw_first_tokens(assignments)
        handles = np.array([request.first_handle + i for _, request, i, _ in assignments])
        self.meter.decode_seconds[handles] += (time.perf_counter() - began) / len(handles)
        yield from done

    def draw_first_tokens(self, assignments: Sequence[Assignment]) -> list[Sample]:
        for assignment in assignments:
            group, request, index, slot = assignment
            self.params.set(slot, group, request, index)
            self.num_tokens[slot] = 0
            self.samples[slot] = Sample(assignment)
            if request.params.stop:
                self.samples[slot].stopping = StopChecker(self.tokenizer, request.params)
        done: list[Sample] = []
        for block in self.blocks(len(assignments)):
            rows = assignments[block]
            slots = torch.tensor([slot for _, _, _, slot in rows])
            logits = torch.cat([logits_of(assignment) for assignment in rows])
            done += self.draw(logits, slots, self.params.rows(slots))
        return done

    def decode_stretch(self) -> Iterator[Sample]:
        """Decode the active rows until at least one of them has finished."""
        groups = [group for group in self.scheduler.running if group.slots]
        batch = make_batch(groups)
        params = self.params.rows(batch.row_slot)
        suffix_len = self.num_tokens[batch.row_slot] - 1  # the last token is not stored yet
        began, steps = time.perf_counter(), 0
        done: list[Sample] = []
        first_len = suffix_len.numpy() + 1
        handles = np.array([self.samples[slot].handle for slot in batch.row_slot.tolist()])
        while not done:
            done = self.step(batch, params, suffix_len + steps)
            steps += 1
        self.meter.decode(
            handles,
            batch.row_bounds.numpy(),
            np.array([len(group.token_ids) for group in groups]),
            first_len,
            steps,
            time.perf_counter() - began,
        )
        yield from done

    def step(self, batch: Batch, params: RowParams, suffix_len: Tensor) -> list[Sample]:
        tokens = self.last_token[batch.row_slot]
        hidden = decode(self.model, self.prefix, self.suffix, batch, tokens, suffix_len)
        blocks = list(self.blocks(len(tokens)))
        if len(blocks) == 1:
            return self.draw(self.model.logits(hidden), batch.row_slot, params)
        done = []
        for block in blocks:
            part = RowParams(**{name: column[block] for name, column in vars(params).items()})
            done += self.draw(self.model.logits(hidden[block]), batch.row_slot[block], part)
        return done

    def blocks(self, rows: int) -> Iterator[slice]:
        """Rows whose logits together stay within the workspace."""
        size = max(1, LOGITS_PER_BLOCK // self.model.config.vocab_size)
        return (slice(first, min(rows, first + size)) for first in range(0, rows, size))

    def draw(self, logits: Tensor, slots: Tensor, params: RowParams) -> list[Sample]:
        """Draw a token for each row, record it, and return the samples it ended."""
        samples = [self.samples[slot] for slot in slots.tolist()]
        raw = logits
        adjusted = [i for i, s in enumerate(samples) if changes_logits(s.request.params)]
        if adjusted:
            logits = logits.clone()
            for i in adjusted:
                adjust_logits(logits[i], samples[i].request, samples[i].token_ids)
        drawn = params.draw(logits, self.num_tokens[slots], self.model.threads)
        self.last_token[slots] = drawn.tokens
        self.num_tokens[slots] += 1
        self.record(samples, raw, drawn)
        done = [sample for sample in samples if ended(sample)]
        for sample in done:
            group, _, _, slot = sample.assignment
            del self.samples[slot]
            self.scheduler.finish(group, slot)
        return done

    def record(self, samples: Sequence[Sample], logits: Tensor, drawn: Drawn) -> None:
        tokens, sampled = drawn.tokens.tolist(), drawn.logprobs.tolist()
        for row, (sample, token) in enumerate(zip(samples, tokens, strict=True)):
            sample.token_ids.append(token)
            most = sample.request.params.logprobs
            if most is not None:
                entry = record_logprobs(logits[row], token, sampled[row], most)
                sample.logprobs.append(entry)


def logits_of(assignment: Assignment) -> Tensor:
    logits = assignment[0].logits
    assert logits is not None
    return logits


def ended(sample: Sample) -> bool:
    """Whether the token just drawn is the sample's last; sets its finish reason."""
    request, token, stopping = sample.request, sample.token_ids[-1], sample.stopping
    enough = len(sample.token_ids) > request.params.min_tokens
    is_last = len(sample.token_ids) >= request.max_new_tokens
    stop = None
    if token in request.end_ids and enough:
        sample.finish_reason = "stop"
        sample.stop_reason = token if token in request.params.stop_token_ids else None
    elif stopping is not None:
        stop = stopping.push(token, enough)
        if stop is None and is_last:
            stop = stopping.flush(enough)
    if stop is not None:
        sample.finish_reason, sample.stop_reason = "stop", stop
    elif is_last and sample.finish_reason is None:
        sample.finish_reason = "length"
    return sample.finish_reason is not None
