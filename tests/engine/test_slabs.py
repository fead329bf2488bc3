"""Chunks of the suffix store: every row has one for each slab it lived in, and nobody else has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine.engine.slabs import NO_CHUNK, Slabs, ring_for


@given(num_steps=st.integers(1, 300), slab_steps=st.integers(1, 70), begin=st.integers(0, 70))
def test_the_ring_holds_a_sample_wherever_it_begins(num_steps, slab_steps, begin):
    ring = ring_for(num_steps, slab_steps)
    touched = {step // slab_steps for step in range(begin, begin + num_steps)}
    assert len(touched) <= ring
    worst = {step // slab_steps for step in range(slab_steps - 1, slab_steps - 1 + num_steps)}
    assert len(worst) == ring


@settings(max_examples=25, deadline=None)
@given(data=st.data(), slab_steps=st.integers(1, 5), most_steps=st.integers(1, 12))
def test_rows_keep_their_chunks_and_share_none(data, slab_steps, most_steps):
    """Rows begin, end, move and are refilled at random; a sample lives for most_steps at most."""
    capacity, ring = 6, ring_for(most_steps, slab_steps)
    slabs = Slabs(capacity * ring, ring, slab_steps)
    rows: list[dict[int, int] | None] = []  # chunk by slab, of each row's sample; None: ended
    begun: list[int] = []
    for now in range(40):
        ended = [r for r in range(len(rows)) if now - begun[r] >= most_steps]
        ended += [r for r in range(len(rows)) if data.draw(st.integers(0, 5)) == 0]
        for r in ended:
            rows[r] = None
        action = data.draw(st.sampled_from(["refill", "rearrange", "nothing"]))
        if action == "refill":
            free = [r for r, row in enumerate(rows) if row is None]
            slabs.refill(np.array(free, np.int64), now)
            for r in free:
                rows[r], begun[r] = {}, now
        elif action == "rearrange" or not rows:
            stay = data.draw(st.permutations([r for r, row in enumerate(rows) if row is not None]))
            new = data.draw(st.integers(1 if not stay else 0, capacity - len(stay)))
            source = data.draw(st.permutations([*stay, *[-1] * new]))
            slabs.rearrange(np.array(source, np.int64), now)
            rows = [{} if r < 0 else rows[r] for r in source]
            begun = [now if r < 0 else begun[r] for r in source]
        if now % slab_steps == 0:
            slabs.begin(now)
        for row, seen in enumerate(rows):
            if seen is not None:
                chunk = int(slabs.table[slabs.place(now), row])
                assert chunk != NO_CHUNK
                assert seen.setdefault(now // slab_steps, chunk) == chunk
        for row, seen in enumerate(rows):  # what was stored is still found
            for slab, chunk in (seen or {}).items():
                assert slabs.table[slab % ring, row] == chunk
        held = slabs.table[slabs.table != NO_CHUNK]
        free = slabs.stack[: slabs.num_free]
        assert sorted([*held, *free]) == list(range(capacity * ring))


def test_more_rows_than_chunks_is_caught():
    slabs = Slabs(3, 1, 4)
    slabs.rearrange(np.full(4, -1), 0)
    with pytest.raises(AssertionError, match="a chunk for every row"):
        slabs.begin(0)
