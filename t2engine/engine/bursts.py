"""Steps of a device's loop that were enqueued together, and what their tokens tell the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from t2engine.engine.batch import DecodeBatch
from t2engine.engine.run import Sample
from t2engine.engine.slots import Slots

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Burst:
    """num_steps is 0 for first tokens, which no step of the layers drew."""

    samples: tuple[Sample | None, ...]  # [R] of then; None where a sample was known to have ended
    handles: Ints  # [R], theirs; -1 for nobody's
    slots: Ints  # [R]
    tokens: Tensor  # [steps, R], on their way to the host
    arrived: torch.cuda.Event | None
    num_steps: int
    batch: DecodeBatch
    own_keys: Ints  # [R], that a row attended to in the first step
    padded_rows: int

    def wait(self) -> Ints:
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.tokens.numpy()


def copy_out(tokens: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A copy on the host, and what says that it is there."""
    if not tokens.is_cuda:
        return tokens.clone(), None
    host = torch.empty(tokens.shape, dtype=tokens.dtype, pin_memory=True)
    host.copy_(tokens.contiguous(), non_blocking=True)
    arrived = torch.cuda.Event(blocking=True)  # the host sleeps while it waits
    arrived.record()
    return host, arrived


def record_tokens(slots: Slots, rows_of: Ints, tokens: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Put what samples drew into their slots' histories, up to where each ended.

    rows_of [n]: slots; tokens [steps, n]. Returns how many of the tokens were each sample's, and
    whether it has ended, by the rule of step_update.
    """
    steps = len(tokens)
    drawn, history = slots.drawn.numpy(), slots.history.numpy()
    left = slots.columns["max_new_tokens"].numpy()[rows_of] - drawn[rows_of]
    end_set = slots.columns["end_set"].numpy()[rows_of]
    bounds, end_ids = slots.end_bounds.tolist(), slots.end_ids.numpy()
    is_end = np.zeros(tokens.shape, bool)
    for which in np.unique(end_set).tolist():
        own = end_set == which
        is_end[:, own] = np.isin(tokens[:, own], end_ids[bounds[which] : bounds[which + 1]])
    first_end = np.where(is_end.any(axis=0), is_end.argmax(axis=0), steps)
    count = np.minimum(np.minimum(first_end + 1, left), steps)
    ended = (first_end < count) | (count == left)
    step, row = np.nonzero(np.arange(steps)[:, None] < count)
    history[rows_of[row], drawn[rows_of[row]] + step] = tokens[step, row]
    drawn[rows_of] += count
    return count, ended
