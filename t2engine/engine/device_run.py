"""The decode loop of a device, which does not wait for the host.

Steps are enqueued in bursts. A step draws, stops the rows it ends and makes the next one's inputs
by itself; what a burst drew is copied out behind it and looked at while the next one runs. So the
host learns late that a row has ended: until then the row is masked, which costs what a row costs
and is counted as waste. Then it is given to the next sample, or dropped when the rows that are left
fit a smaller step.

    enqueue burst i  ->  copy its tokens out  ->  settle burst i - 1: who ended, who starts
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from t2engine.engine.batch import DecodeBatch, make_decode_batch
from t2engine.engine.bursts import Burst, copy_out, record_tokens
from t2engine.engine.device import FIRST_LOGITS, DeviceExecutor, DeviceRuntime
from t2engine.engine.device_rows import RowView, to_device
from t2engine.engine.device_stage import bucket, take_stage
from t2engine.engine.memory import MemoryPlan
from t2engine.engine.requests import Request
from t2engine.engine.run import Run, Sample, logits_of
from t2engine.engine.scheduler import Assignment
from t2engine.engine.slabs import Slabs
from t2engine.engine.stopping import StopChecker
from t2engine.model.tokenizer import Tokenizer

BURSTS_AHEAD = 1  # enqueued, and not looked at yet, while the next is

Ints = npt.NDArray[np.int64]


class DeviceRun(Run):
    """The state of one call. `finished()` yields samples as they end, those that end together."""

    executor: DeviceExecutor

    def __init__(
        self,
        runtime: DeviceRuntime,
        tokenizer: Tokenizer,
        requests: Sequence[Request],
        plan: MemoryPlan,
    ) -> None:
        self.runtime, self.stage = runtime, take_stage(runtime, plan)
        super().__init__(runtime, tokenizer, requests, plan, self.stage.executor)
        self.model, self.device = runtime.model, runtime.model.device
        cache = self.executor.cache
        self.steps_ahead = runtime.steps_ahead
        self.rows, self.ends = self.stage.rows, self.stage.prepare(self.slots)
        self.slabs = Slabs(cache.num_chunks, cache.ring, cache.slab_steps)
        self.now = 0  # the step that comes next
        self.batch: DecodeBatch | None = None
        self.row_slot: Ints = np.zeros(0, np.int64)
        self.row_of: dict[int, int] = {}  # by slot
        self.row_samples: list[Sample | None] = []
        self.row_handle: Ints = np.zeros(0, np.int64)  # -1 where a row's sample has ended
        self.enqueued: Ints = np.zeros(0, np.int64)  # tokens each row's sample will have drawn
        self.most: Ints = np.zeros(0, np.int64)  # tokens it may draw; 0 where none is left
        self.bursts: deque[Burst] = deque()
        num_samples = len(self.meter.decode_flops)
        self.in_flight = np.zeros(num_samples, np.int64)  # bursts that hold a sample, by its handle
        self.is_over = np.zeros(num_samples, bool)
        self.is_watched = np.zeros(num_samples, bool)  # for stop strings
        self.ending: dict[int, Sample] = {}  # over, and held by bursts under way
        self.began = time.perf_counter()

    def finished(self) -> Iterator[list[Sample]]:
        try:
            yield from self.decode()
        except GeneratorExit:
            self.runtime.idle = self.stage  # what is under way comes before the next call's work
            raise
        self.runtime.idle = self.stage

    def decode(self) -> Iterator[list[Sample]]:
        while True:
            self.start_rows()
            going = self.enqueued < self.most
            if going.any() and (going | (self.most == 0)).all():
                self.enqueue()
                while len(self.bursts) > BURSTS_AHEAD:
                    yield self.settle()
            elif self.bursts:  # some rows are at their length: see who they were
                while self.bursts:
                    yield self.settle()
            elif not self.scheduler.waiting and not self.scheduler.running:
                return

    def start_rows(self) -> None:
        """Prefill new prompts, and give the rows that are free to the next samples."""
        groups = self.scheduler.start_groups()
        if groups:
            self.prefill(groups)
        assignments = self.scheduler.assign()
        for assignment in assignments:
            sample = Sample(assignment)
            self.samples[sample.slot] = sample
            if sample.request.params.stop:
                sample.stopping = StopChecker(self.tokenizer, sample.request.params)
                self.is_watched[sample.handle] = True
        if assignments:
            self.slots.start(assignments)
        elif bucket(max(1, len(self.samples))) >= bucket(max(1, len(self.row_slot))):
            return
        if self.samples:
            self.arrange({slot for *_, slot in assignments})
        if assignments:
            self.draw_first(assignments)

    def arrange(self, new_slots: set[int]) -> None:
        """The rows of the samples there are now: as before where they can stay, else moved."""
        for group in self.scheduler.running:
            group.slots.sort()
        batch = make_decode_batch(self.scheduler.running)
        row_slot = batch.row_slot.numpy()
        is_new = np.array([slot in new_slots for slot in row_slot.tolist()])
        if self.batch is not None and same_rows(batch, self.batch):
            self.slabs.refill(np.flatnonzero(is_new), self.now)
        else:
            source = np.array([self.row_of.get(slot, -1) for slot in row_slot.tolist()])
            source[is_new] = -1
            self.rows.rearrange(to_device(torch.from_numpy(source), self.device))
            self.slabs.rearrange(source, self.now)
            self.enqueued = np.append(self.enqueued, 0)[source]  # 0 for a new one
            self.executor.attention.arrange(batch, bucket(len(row_slot)))
        self.batch, self.row_slot = batch, row_slot
        self.row_of = {slot: row for row, slot in enumerate(row_slot.tolist())}
        samples = [self.samples[slot] for slot in row_slot.tolist()]
        self.row_samples = list(samples)
        self.row_handle = np.array([sample.handle for sample in samples])
        self.enqueued[is_new] = 0
        self.most = self.slots.columns["max_new_tokens"][batch.row_slot].numpy().copy()
        self.rows.describe(self.slots, batch.row_slot)
        self.place_chunks()

    def place_chunks(self) -> None:
        """Show the device which chunks are whose."""
        view, table = self.view(), torch.from_numpy(self.slabs.table)
        view.row_chunk[:, : table.shape[1]] = to_device(table, self.device)

    def view(self) -> RowView:
        return self.rows.view(bucket(len(self.row_slot)))

    def draw_first(self, assignments: Sequence[Assignment]) -> None:
        """Draw the first tokens of new samples from their prompts' logits."""
        assert self.batch is not None
        at_once = max(1, FIRST_LOGITS // self.model.config.vocab_size)
        for first in range(0, len(assignments), at_once):
            block = assignments[first : first + at_once]
            rows = [self.row_of[slot] for *_, slot in block]
            logits = torch.cat([logits_of(group) for group, *_ in block])
            position = self.batch.prefix_len[rows] - 1  # of the prompt's last token
            at, before = (to_device(x, self.device) for x in (torch.tensor(rows), position))
            tokens = self.rows.start(at, before, self.now, logits, self.ends, self.model.embed)
            self.send(np.array(rows), tokens, 0, 0)
            self.enqueued[rows] = 1

    def enqueue(self) -> None:
        """As many steps as can run before the host must act."""
        steps_of_slab = self.slabs.slab_steps
        at = self.now % steps_of_slab
        if at == 0:
            self.slabs.begin(self.now)
            self.place_chunks()
        left = (self.most - self.enqueued)[self.most > 0]
        count = int(min(self.steps_ahead, steps_of_slab - at, left.min()))
        view = self.view()
        key = (len(view), self.executor.attention.key)
        self.stage.graphs.run(key, lambda: self.executor.decode_step(view, self.ends), count)
        tokens = view.drawn_tokens[at : at + count, : len(self.row_slot)]
        padded = len(view) - len(self.row_slot)
        self.send(np.arange(len(self.row_slot)), tokens, count, padded)
        self.now += count
        self.enqueued[self.most > 0] += count

    def send(self, rows: Ints, tokens: Tensor, num_steps: int, padded_rows: int) -> None:
        """Copy what these rows drew out, behind what was enqueued. tokens [steps, len(rows)]."""
        assert self.batch is not None
        host, arrived = copy_out(tokens)
        if not self.bursts:
            self.began = time.perf_counter()
        handles = self.row_handle[rows]
        self.in_flight[handles[handles >= 0]] += 1
        burst = Burst(
            samples=tuple(self.row_samples[row] for row in rows.tolist()),
            handles=handles,
            slots=self.row_slot[rows],
            tokens=host,
            arrived=arrived,
            num_steps=num_steps,
            batch=self.batch,
            own_keys=self.enqueued[rows],
            padded_rows=padded_rows,
        )
        self.bursts.append(burst)

    def settle(self) -> list[Sample]:
        """Look at the oldest burst: who ended, what it cost. Those whose costs are complete."""
        burst = self.bursts.popleft()
        tokens, handles = burst.wait(), burst.handles
        rows = np.flatnonzero((handles >= 0) & ~self.is_over[handles])
        slots = burst.slots[rows]
        before = self.slots.drawn.numpy()[slots]
        count, ended = record_tokens(self.slots, slots, tokens[:, rows])
        for i in np.flatnonzero(ended | self.is_watched[handles[rows]]).tolist():
            sample = burst.samples[rows[i]]
            assert sample is not None
            if sample.stopping is not None:
                count[i], ended[i] = self.watch(sample, int(before[i]), int(count[i]))
            if ended[i]:
                self.end(sample)
        alive_steps = np.zeros(len(handles), np.int64)
        alive_steps[rows] = count
        now = time.perf_counter()
        self.meter.decode(
            handles,
            (burst.batch.segment_columns[:, 1] - burst.batch.segment_columns[:, 0]).numpy(),
            burst.batch.segment_rows.numpy(),
            burst.own_keys,
            burst.num_steps,
            now - self.began,
            alive_steps=alive_steps,
            padded_rows=burst.padded_rows,
        )
        self.began = now
        self.in_flight[handles[handles >= 0]] -= 1
        complete = [handle for handle in self.ending if self.in_flight[handle] == 0]
        return [self.ending.pop(handle) for handle in complete]

    def watch(self, sample: Sample, before: int, count: int) -> tuple[int, bool]:
        """Look for stop strings in a sample's new tokens: how many are its own, and is it over."""
        for taken in range(1, count + 1):
            if self.note_end(sample, before + taken):
                self.slots.drawn[sample.slot] = before + taken
                return taken, True
        return count, False

    def end(self, sample: Sample) -> None:
        if sample.finish_reason is None:
            is_end = self.note_end(sample, int(self.slots.drawn.numpy()[sample.slot]))
            assert is_end, "the step and the engine agree on when a sample ends"
        self.finish(sample)
        self.is_over[sample.handle] = True
        self.ending[sample.handle] = sample
        row = self.row_of.get(sample.slot)
        if row is not None and self.row_samples[row] is sample:
            self.row_samples[row], self.row_handle[row] = None, -1
            self.most[row] = 0


def same_rows(a: DecodeBatch, b: DecodeBatch) -> bool:
    return all(
        torch.equal(getattr(a, name), getattr(b, name))
        for name in ("row_slot", "segment_columns", "segment_rows")
    )
