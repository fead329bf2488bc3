"""Which chunk of the suffix store holds a row's keys of which steps.

Time is cut into slabs of `slab_steps` steps. Whenever one begins, every row is given a chunk for
it, a piece [H_kv, slab_steps, D] of one pool; a ring of slabs is remembered. No keys are moved when
rows are, and a row that is refilled goes on in its current chunk: where its own keys begin is the
row's affair.

Shapes: table [ring, rows] int64, the chunk of a slab and row; -1 for none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SLAB_STEPS = 64
NO_CHUNK = -1

Ints = npt.NDArray[np.int64]


def ring_for(num_steps: int, slab_steps: int = SLAB_STEPS) -> int:
    """Slabs that num_steps successive steps touch at most, wherever they begin."""
    return (num_steps + slab_steps - 2) // slab_steps + 1


class Slabs:
    """The table, and the chunks that are free. `now` is the step that comes next."""

    def __init__(self, num_chunks: int, ring: int, slab_steps: int) -> None:
        self.slab_steps = slab_steps
        self.stack = np.arange(num_chunks)  # the first num_free are free
        self.num_free = num_chunks
        self.table: Ints = np.full((ring, 0), NO_CHUNK)

    def place(self, now: int) -> int:
        """Of the slab of step `now`, in the ring."""
        return now // self.slab_steps % len(self.table)

    def begin(self, now: int) -> None:
        """A slab begins: the one it replaces in the ring is nobody's any more."""
        assert now % self.slab_steps == 0
        place = self.place(now)
        self.give_back(self.table[place])
        self.table[place] = self.take(self.table.shape[1])

    def refill(self, rows: Ints, now: int) -> None:
        """Rows whose samples have ended go on with others, in the chunks of the current slab."""
        older = np.ix_(np.arange(len(self.table)) != self.place(now), rows)
        self.give_back(self.table[older])
        self.table[older] = NO_CHUNK

    def rearrange(self, source: Ints, now: int) -> None:
        """New row i is what row source[i] was, or new where that is -1; other rows are gone."""
        old = self.table
        gone = np.setdiff1d(np.arange(old.shape[1]), source)
        self.give_back(old[:, gone])
        self.table = np.full((len(old), len(source)), NO_CHUNK)
        stays = source >= 0
        self.table[:, stays] = old[:, source[stays]]
        if now % self.slab_steps:  # within a slab, which did not begin with the new rows
            self.table[self.place(now), ~stays] = self.take(int((~stays).sum()))

    def take(self, count: int) -> Ints:
        self.num_free -= count
        assert self.num_free >= 0, "there is a chunk for every row and slab of the ring"
        return self.stack[self.num_free : self.num_free + count].copy()

    def give_back(self, chunks: Ints) -> None:
        used = chunks[chunks != NO_CHUNK]
        self.stack[self.num_free : self.num_free + used.size] = used
        self.num_free += used.size
