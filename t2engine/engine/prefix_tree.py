"""Which prompts share which columns of the prefix store.

A prompt's keys lie in segments, one after another: the path from the tree's root to its own leaf.
Prompts that begin with the same tokens have the same first segments, computed and stored once, and
read once a step for all their samples (system prompt -> few-shot examples -> question -> samples).
A segment ends where prompts part, in whole blocks of SHARING_BLOCK tokens: attention walks a prompt
in such blocks, so its bits do not depend on where segments begin.

A prompt's last token is never shared: its hidden state gives the first token's logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from t2engine.ops import SHARING_BLOCK

Span = tuple[int, int]


@dataclass(eq=False)
class Segment:
    """Tokens of one or more prompts, and the columns that hold their keys."""

    tokens: tuple[int, ...]
    span: Span
    parent: Segment | None
    children: dict[tuple[int, ...], Segment] = field(default_factory=dict)  # by first block
    users: int = 0  # prompts that end here, and segments that follow

    @property
    def key(self) -> tuple[int, ...]:
        return self.tokens[:SHARING_BLOCK]

    def path(self) -> list[Segment]:
        """From the root's child to this segment."""
        above = self.parent
        return [*above.path(), self] if above is not None else []


class Spans:
    """Free columns of a store."""

    def __init__(self, capacity: int) -> None:
        self.free: list[Span] = [(0, capacity)]  # disjoint, in rising order

    def allocate(self, length: int) -> Span | None:
        """The first free span of `length` columns; None when there is none now."""
        for i, (start, stop) in enumerate(self.free):
            if stop - start >= length:
                self.free[i : i + 1] = [(start + length, stop)] if stop - start > length else []
                return start, start + length
        return None

    def release(self, span: Span) -> None:
        merged: list[Span] = []
        for start, stop in sorted([*self.free, span]):
            if merged and merged[-1][1] == start:
                merged[-1] = merged[-1][0], stop
            else:
                merged.append((start, stop))
        self.free = merged


class PrefixTree:
    """The segments of the prompts being sampled."""

    def __init__(self, capacity: int) -> None:
        self.spans = Spans(capacity)
        self.root = Segment((), (0, 0), None)

    def insert(self, tokens: tuple[int, ...], shareable: int | None = None) -> Segment | None:
        """A leaf for this prompt, below what it shares with others; None when there is no room.

        The leaf's own tokens are not computed yet; those of the segments above are, or will be by
        a prompt inserted before. shareable: leading tokens of which nothing but keys is wanted;
        None leaves out the last token alone.
        """
        parent, shared = self.match(tokens, len(tokens) - 1 if shareable is None else shareable)
        own = tokens[shared:]
        span = self.spans.allocate(len(own))
        if span is None:
            return None
        leaf = Segment(own, span, parent, users=1)
        parent.users += 1
        if len(own) >= SHARING_BLOCK:
            parent.children.setdefault(leaf.key, leaf)
        return leaf

    def match(self, tokens: tuple[int, ...], shareable: int) -> tuple[Segment, int]:
        """The segment that ends with the last shared block of this prompt, and where that is."""
        most = shareable // SHARING_BLOCK * SHARING_BLOCK
        segment, at = self.root, 0
        while at < most:
            child = segment.children.get(tokens[at : at + SHARING_BLOCK])
            if child is None:
                break
            same = common_blocks(child.tokens, tokens[at:most])
            segment = child if same == len(child.tokens) else self.split(child, same)
            at += same
        return segment, at

    def split(self, segment: Segment, length: int) -> Segment:
        """Make the first `length` tokens of a segment one of its own; returns that."""
        above, (start, stop) = segment.parent, segment.span
        assert above is not None, "the root is never split"
        upper = Segment(segment.tokens[:length], (start, start + length), above, users=1)
        above.children[upper.key] = upper
        segment.tokens, segment.span = segment.tokens[length:], (start + length, stop)
        segment.parent = upper
        if len(segment.tokens) >= SHARING_BLOCK:
            upper.children[segment.key] = segment
        return upper

    def release(self, segment: Segment) -> None:
        """One user less; columns that nobody uses are free again."""
        segment.users -= 1
        above = segment.parent
        if segment.users or above is None:
            return
        self.spans.release(segment.span)
        if above.children.get(segment.key) is segment:
            del above.children[segment.key]
        self.release(above)


def common_blocks(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """How many leading tokens are the same, in whole blocks."""
    length = min(len(a), len(b)) // SHARING_BLOCK * SHARING_BLOCK
    for at in range(0, length, SHARING_BLOCK):
        if a[at : at + SHARING_BLOCK] != b[at : at + SHARING_BLOCK]:
            return at
    return length


def common_blocks_of_all(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many leading tokens every prompt shares with every other, its last token aside."""
    first, shortest = prompts[0], min(len(tokens) for tokens in prompts)
    shared = (shortest - 1) // SHARING_BLOCK * SHARING_BLOCK
    for tokens in prompts[1:]:
        shared = min(shared, common_blocks(first, tokens))
    return shared if len(prompts) > 1 else 0
