"""The tree of shared prompts: what is shared, where it lies, and that nothing is lost or kept."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine.engine.prefix_tree import PrefixTree, Segment
from t2engine.ops import SHARING_BLOCK

BLOCK = tuple[int, ...]


def block(name: int) -> BLOCK:
    return (name,) * SHARING_BLOCK


def lengths(leaf: Segment) -> list[int]:
    return [len(segment.tokens) for segment in leaf.path()]


def insert(tree: PrefixTree, *blocks: BLOCK) -> Segment:
    leaf = tree.insert(sum(blocks, ()))
    assert leaf is not None
    return leaf


def test_prompts_share_whole_blocks() -> None:
    tree = PrefixTree(10_000)
    first = insert(tree, block(1), block(2), (5,) * 40)
    second = insert(tree, block(1), block(3), (5,) * 9)
    assert lengths(first) == [SHARING_BLOCK, SHARING_BLOCK + 40]
    assert lengths(second) == [SHARING_BLOCK, SHARING_BLOCK + 9]
    assert first.path()[0] is second.path()[0]


def test_three_levels() -> None:
    tree = PrefixTree(10_000)
    system, shots, question = block(1), block(2), block(3)
    leaves = [
        insert(tree, system, shots, question, (9,)),
        insert(tree, system, shots, block(4), (9,)),
        insert(tree, system, block(5), (9,)),
    ]
    assert [lengths(leaf) for leaf in leaves] == [
        [SHARING_BLOCK, SHARING_BLOCK, SHARING_BLOCK + 1],
        [SHARING_BLOCK, SHARING_BLOCK, SHARING_BLOCK + 1],
        [SHARING_BLOCK, SHARING_BLOCK + 1],
    ]


def test_the_last_token_is_a_prompts_own() -> None:
    """Its hidden state gives the first logits, so it is computed for every prompt."""
    tree = PrefixTree(10_000)
    longer = insert(tree, block(1), block(2))
    shorter = insert(tree, block(1))
    assert lengths(shorter) == [SHARING_BLOCK]
    assert shorter.path()[0] is not longer.path()[0]


def test_a_full_store_says_so_and_changes_nothing() -> None:
    tree = PrefixTree(300)
    leaf = insert(tree, block(1), (2,) * 100)
    assert tree.insert(block(3)) is None
    assert tree.insert((*block(1), *[7] * 73)) is None
    assert lengths(leaf)[-1] + sum(lengths(leaf)[:-1]) == 228
    more = tree.insert((*block(1), *[7] * 72))
    assert more is not None
    assert tree.spans.free == []


prompts = st.lists(
    st.tuples(st.lists(st.integers(0, 2), max_size=4), st.integers(1, SHARING_BLOCK)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(prompts=prompts, seed=st.integers(0, 100))
def test_segments_hold_their_prompts_and_nothing_leaks(
    prompts: list[tuple[list[int], int]], seed: int
) -> None:
    tree, order = PrefixTree(3000), random.Random(seed)
    running: list[tuple[tuple[int, ...], Segment]] = []
    for names, rest in prompts:
        tokens = (*sum((block(name) for name in names), ()), *[3] * rest)
        leaf = tree.insert(tokens)
        if leaf is not None:
            running.append((tokens, leaf))
        if running and order.random() < 0.4:
            _, finished = running.pop(order.randrange(len(running)))
            tree.release(finished)
        check(tree, running)
    for _, leaf in running:
        tree.release(leaf)
    assert tree.spans.free == [(0, 3000)]
    assert tree.root.children == {}
    assert tree.root.users == 0


def check(tree: PrefixTree, running: list[tuple[tuple[int, ...], Segment]]) -> None:
    columns: dict[int, Segment] = {}
    for tokens, leaf in running:
        path = leaf.path()
        assert sum((segment.tokens for segment in path), ()) == tokens
        assert all(len(segment.tokens) % SHARING_BLOCK == 0 for segment in path[:-1])
        for segment in path:
            start, stop = segment.span
            assert stop - start == len(segment.tokens)
            for column in range(start, stop):
                assert columns.setdefault(column, segment) is segment
    free = {column for start, stop in tree.spans.free for column in range(start, stop)}
    assert free.isdisjoint(columns)
    assert len(free) + len(columns) == 3000
