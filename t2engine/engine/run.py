"""One call's decode loop: prefill, fan out, decode, finish, refill, until every sample is done.

Each step decodes one token of every active row. Rows change only when a sample starts or finishes;
between such moments the batch and its parameters stand still, the steps run natively without a
break, and the meter is told once for the whole stretch. Rows that need something done for each
token (stop strings, penalties, log-probabilities) make the stretch one step long.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from t2engine.engine.batch import DecodeBatch, make_decode_batch
from t2engine.engine.forward import Executor, Runtime, prefill
from t2engine.engine.memory import CHUNK_TOKENS, FIRST_ROWS, MemoryPlan, return_free_memory
from t2engine.engine.native import NativeExecutor
from t2engine.engine.prefix_tree import PrefixTree, Segment
from t2engine.engine.requests import Group, Request, group_by_prompt
from t2engine.engine.sampling import (
    adjust_logits,
    changes_logits,
    needs_every_token,
    record_logprobs,
)
from t2engine.engine.scheduler import Assignment, Scheduler
from t2engine.engine.slots import Slots
from t2engine.engine.stopping import StopChecker
from t2engine.metering import Meter
from t2engine.model.tokenizer import Tokenizer
from t2engine.schema import Logprob

STRETCH_SECONDS = 0.1  # of native decoding before Python looks up, so that Ctrl-C is heard


@dataclass
class Sample:
    """A sample being decoded."""

    assignment: Assignment
    token_ids: list[int] = field(default_factory=list)  # once it has finished
    logprobs: list[dict[int, Logprob]] = field(default_factory=list)
    stopping: StopChecker | None = None  # only where there are stop strings
    finish_reason: str | None = None
    stop_reason: int | str | None = None

    @property
    def group(self) -> Group:
        return self.assignment[0]

    @property
    def request(self) -> Request:
        return self.assignment[1]

    @property
    def index(self) -> int:
        return self.assignment[2]

    @property
    def slot(self) -> int:
        return self.assignment[3]

    @property
    def handle(self) -> int:
        return self.request.first_handle + self.index


class Run:
    """The state of one call. `finished()` yields samples as they end, those that end together."""

    def __init__(
        self,
        runtime: Runtime,
        tokenizer: Tokenizer,
        requests: Sequence[Request],
        plan: MemoryPlan,
        executor: Executor | None = None,
    ) -> None:
        """executor: None makes one."""
        config = runtime.model.config
        self.tokenizer = tokenizer
        self.threads = runtime.model.threads
        self.logit_rows = plan.logit_rows
        self.executor = executor or runtime.executor(plan)
        self.chunk_tokens = runtime.chunk_tokens
        tree = PrefixTree(plan.prefix_capacity)
        self.scheduler = Scheduler(group_by_prompt(requests), plan.slots, tree)
        num_samples = sum(request.params.n for request in requests)
        self.meter = Meter(config, num_samples, runtime.model.precision)
        self.slots = Slots(plan.slots, plan.suffix_capacity + 1, requests)
        self.samples: dict[int, Sample] = {}  # by slot

    def finished(self) -> Iterator[list[Sample]]:
        while True:
            yield self.start_samples()
            if self.samples:
                yield self.decode_stretch()
            elif not self.scheduler.waiting and not self.scheduler.running:
                return

    def start_samples(self) -> list[Sample]:
        """Prefill new prompts and draw the first token of every sample that gets a slot."""
        groups = self.scheduler.start_groups()
        if groups:
            self.prefill(groups)
        began = time.perf_counter()
        assignments = self.scheduler.assign()
        if not assignments:
            return []
        done = self.draw_first_tokens(assignments)
        handles = np.array([request.first_handle + i for _, request, i, _ in assignments])
        self.meter.decode_seconds[handles] += (time.perf_counter() - began) / len(handles)
        return done

    def prefill(self, groups: Sequence[Group]) -> None:
        """Samples share what their prompts share: each segment's cost is theirs together."""
        sharers: dict[Segment, list[int]] = {}
        for group in groups:
            for segment in group.path():
                sharers.setdefault(segment, []).extend(group.handles)
        pieces = [piece for group in groups for piece in new_segments(group)]
        began = time.perf_counter()
        prefill(self.executor, groups, self.chunk_tokens)
        seconds = time.perf_counter() - began
        tokens = sum(stop - start for _, start, stop in pieces)
        if tokens >= CHUNK_TOKENS:
            return_free_memory()  # the samples' keys take the place of these activations
        for segment, start, stop in pieces:
            share = seconds * (stop - start) / tokens
            self.meter.prefill(np.array(sharers[segment]), start, stop, share)
        for group in groups:
            self.meter.prompt(np.array(group.handles))

    def draw_first_tokens(self, assignments: Sequence[Assignment]) -> list[Sample]:
        self.slots.start(assignments)
        for assignment in assignments:
            sample = Sample(assignment)
            self.samples[sample.slot] = sample
            if sample.request.params.stop:
                sample.stopping = StopChecker(self.tokenizer, sample.request.params)
        done: list[Sample] = []
        for first in range(0, len(assignments), FIRST_ROWS):
            block = assignments[first : first + FIRST_ROWS]
            slots = torch.tensor([slot for _, _, _, slot in block])
            done += self.draw(torch.cat([logits_of(group) for group, _, _, _ in block]), slots)
        return done

    def decode_stretch(self) -> list[Sample]:
        """Decode the active rows until at least one of them has finished."""
        batch = make_decode_batch(self.scheduler.running)
        first_len = self.slots.drawn[batch.row_slot].numpy().copy()  # keys of its own, this step
        samples = [self.samples[slot] for slot in batch.row_slot.tolist()]
        native = self.executor if isinstance(self.executor, NativeExecutor) else None
        if any(needs_every_token(sample.request.params) for sample in samples):
            native = None
        began, steps = time.perf_counter(), 0
        done: list[Sample] = []
        while not done:
            if native is None:
                done = self.step(batch)
                steps += 1
            else:
                taken, ended = self.decode_natively(native, batch, samples)
                done = [samples[row] for row in ended]
                steps += taken
        self.meter.decode(
            np.array([sample.handle for sample in samples]),
            (batch.segment_columns[:, 1] - batch.segment_columns[:, 0]).numpy(),
            batch.segment_rows.numpy(),
            first_len,
            steps,
            time.perf_counter() - began,
        )
        return done

    def decode_natively(
        self, native: NativeExecutor, batch: DecodeBatch, samples: Sequence[Sample]
    ) -> tuple[int, list[int]]:
        """Steps taken, and the rows that have ended."""
        drawn = self.slots.drawn[batch.row_slot]
        most = int((self.slots.columns["max_new_tokens"][batch.row_slot] - drawn).min())
        steps, ended = native.decode_until(batch, self.slots, most, STRETCH_SECONDS)
        rows: list[int] = ended.nonzero()[:, 0].tolist()
        for row in rows:
            sample = samples[row]
            is_end = self.note_end(sample, int(self.slots.drawn[sample.slot]))
            assert is_end, "the native step and the engine agree on when a sample ends"
            self.finish(sample)
        return steps, rows

    def step(self, batch: DecodeBatch) -> list[Sample]:
        hidden = self.executor.decode(batch, self.slots)
        done = []
        for first in range(0, len(hidden), self.logit_rows):
            block = slice(first, first + self.logit_rows)
            done += self.draw(self.executor.logits(hidden[block]), batch.row_slot[block])
        return done

    def draw(self, logits: Tensor, slots: Tensor) -> list[Sample]:
        """Draw a token for each slot, record it, and return the samples it ended."""
        samples = [self.samples[slot] for slot in slots.tolist()]
        raw = logits
        adjusted = [i for i, s in enumerate(samples) if changes_logits(s.request.params)]
        if adjusted:
            logits = logits.clone()
            for i in adjusted:
                adjust_logits(logits[i], samples[i].request, self.slots.tokens(samples[i].slot))
        tokens, logprobs = self.slots.draw(slots, logits, self.threads)
        for row, sample in enumerate(samples):
            most = sample.request.params.logprobs
            if most is not None:
                entry = record_logprobs(raw[row], int(tokens[row]), float(logprobs[row]), most)
                sample.logprobs.append(entry)
        drawn = self.slots.drawn[slots].tolist()
        done = [s for s, count in zip(samples, drawn, strict=True) if self.note_end(s, count)]
        for sample in done:
            self.finish(sample)
        return done

    def finish(self, sample: Sample) -> None:
        sample.token_ids = self.slots.tokens(sample.slot)
        del self.samples[sample.slot]
        self.scheduler.finish(sample.group, sample.slot)

    def note_end(self, sample: Sample, drawn: int) -> bool:
        """Whether the token just drawn is the sample's last; sets its finish reason."""
        request, stopping = sample.request, sample.stopping
        token = int(self.slots.history.numpy()[sample.slot, drawn - 1])
        enough = drawn > request.params.min_tokens
        is_last = drawn >= request.max_new_tokens
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


def new_segments(group: Group) -> Iterator[tuple[Segment, int, int]]:
    """The segments, or parts of them, that are still to be computed, with their positions."""
    at = 0
    for segment in group.path():
        stop = at + len(segment.tokens)
        if stop > group.computed:
            yield segment, max(at, group.computed), stop
        at = stop


def logits_of(group: Group) -> Tensor:
    assert group.logits is not None
    return group.logits
