"""The rows of a decode step on a device: what each has drawn, how it draws, where it stands.

A step reads and moves these columns without asking the host. They have fixed addresses, so that a
recorded step stays valid: the first R rows of each column are a step's.

Shapes: columns [capacity]; hidden [capacity, W]; drawn_tokens [T, R] and row_chunk [ring, R] take
        the front of one allocation, whatever R is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from t2engine import ops
from t2engine.engine.slots import FLOATS, INTEGERS, Slots

MOVED = ("alive", "drawn", "position", "first", "last")  # by the steps


@dataclass(frozen=True)
class RowView:
    """The rows of one step, as the operations take them."""

    columns: dict[str, Tensor]  # [R] each: FLOATS, INTEGERS and MOVED
    hidden: Tensor  # [R, W], the embedding of the token each row drew last
    uniform: Tensor  # [R] float64, for the next draw
    drawn_tokens: Tensor  # [T, R]
    row_chunk: Tensor  # [ring, R]

    def __len__(self) -> int:
        return self.hidden.shape[0]

    def part(self, rows: slice) -> RowView:
        """What drawing for these rows takes."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        chunks = self.row_chunk[:, rows]
        return RowView(columns, self.hidden[rows], self.uniform[rows], self.drawn_tokens, chunks)

    def draw(self, logits: Tensor) -> Tensor:
        """A token for each row [R]."""
        how = [self.columns[name] for name in ("temperature", "top_k", "top_p", "min_p")]
        token: Tensor = ops.sample_tokens(logits, *how, self.uniform)[0]
        return token

    def update(self, token: Tensor, ends: tuple[Tensor, Tensor], embed: Tensor) -> None:
        """ends: end_bounds and end_ids."""
        at = self.columns
        ops.step_update(
            *(token, *(at[name] for name in MOVED)),
            *(self.drawn_tokens, self.hidden, self.uniform),
            *(at["max_new_tokens"], at["end_set"], *ends),
            *(at["seed"], at["prompt"], at["sample"], embed),
        )


class DeviceRows:
    def __init__(self, capacity: int, ring: int, slab_steps: int, embed: Tensor) -> None:
        device, width = embed.device, embed.shape[1]

        def integers(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=device)

        self.capacity, self.ring, self.slab_steps = capacity, ring, slab_steps
        self.columns = {
            **{name: torch.zeros(capacity, device=device) for name in FLOATS},
            **{name: integers(capacity) for name in (*INTEGERS, *MOVED)},
        }
        self.hidden = torch.zeros(capacity, width, dtype=embed.dtype, device=device)
        self.uniform = torch.zeros(capacity, dtype=torch.float64, device=device)
        self.drawn_tokens = integers(slab_steps * capacity)
        self.row_chunk = integers(ring * capacity)

    def view(self, R: int) -> RowView:
        return RowView(
            columns={name: column[:R] for name, column in self.columns.items()},
            hidden=self.hidden[:R],
            uniform=self.uniform[:R],
            drawn_tokens=self.drawn_tokens[: self.slab_steps * R].view(self.slab_steps, R),
            row_chunk=self.row_chunk[: self.ring * R].view(self.ring, R),
        )

    def clear(self) -> None:
        """Nothing lives."""
        for name, value in (("alive", 0), ("first", 0), ("last", -1)):
            self.columns[name].fill_(value)

    def rearrange(self, source: Tensor) -> None:
        """New row i is what row source[i] was; where that is -1, and after them, nothing lives."""
        stays = source >= 0
        old = source.clamp(min=0)
        for column in (*(self.columns[name] for name in MOVED), self.hidden, self.uniform):
            moved = column[old]  # a copy: the rows overlap
            column[: len(source)] = moved
        alive = self.columns["alive"]
        alive[: len(source)] *= stays
        alive[len(source) :] = 0
        for name, value in (("first", 0), ("last", -1)):
            self.columns[name].masked_fill_(alive == 0, value)

    def describe(self, slots: Slots, row_slot: Tensor) -> None:
        """How the rows draw, from the host's columns by slot; row_slot [R] int64."""
        for name in (*FLOATS, *INTEGERS):
            rows = slots.columns[name][row_slot]
            self.columns[name][: len(row_slot)] = to_device(rows, self.hidden.device)

    def start(
        self,
        at: Tensor,
        position: Tensor,
        now: int,
        logits: Tensor,
        ends: tuple[Tensor, Tensor],
        embed: Tensor,
    ) -> Tensor:
        """Draw the first tokens of new samples, whose first own keys are those of step `now`.

        They are put where step_update finds rows after the step before, in tensors of their own,
        and then in their places. at, position [n]: rows, and where their prompts' last tokens are;
        logits [n, V] after those. Returns the tokens [1, n].
        """
        columns = {name: column[at] for name, column in self.columns.items()}
        for name, value in (("alive", 1), ("drawn", 0), ("first", now), ("last", now - 1)):
            columns[name].fill_(value)
        columns["position"] = position
        new = RowView(
            columns=columns,
            hidden=self.hidden[at],
            uniform=ops.philox_uniform(
                *(columns[name] for name in ("seed", "prompt", "sample", "drawn"))
            ),
            drawn_tokens=torch.zeros_like(at)[None],
            row_chunk=self.row_chunk[:0].view(0, 0),
        )
        new.update(new.draw(logits), ends, embed)
        for name in MOVED:
            self.columns[name][at] = columns[name]
        self.hidden[at], self.uniform[at] = new.hidden, new.uniform
        return new.drawn_tokens


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy that the host does not wait for."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
