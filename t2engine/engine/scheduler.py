"""Who decodes next: a freed slot goes at once to the next sample of the same prompt, then to the
next prompt, which starts as soon as a slot and columns of the prefix store are free.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

from t2engine.engine.prefix_tree import PrefixTree
from t2engine.engine.requests import Group, Request

Assignment = tuple[Group, Request, int, int]  # group, request, sample index, slot


class Scheduler:
    def __init__(self, groups: Sequence[Group], slots: int, tree: PrefixTree) -> None:
        self.waiting = deque(groups)
        self.running: list[Group] = []
        self.free_slots = list(range(slots))  # a heap: the lowest is given first
        self.tree = tree

    def start_groups(self) -> list[Group]:
        """Move prompts from waiting to running while slots are left for them; returns those."""
        wanted = sum(len(group.pending) for group in self.running)
        started = []
        while self.waiting and wanted < len(self.free_slots):
            leaf = self.tree.insert(self.waiting[0].token_ids)
            if leaf is None:
                break
            group = self.waiting.popleft()
            group.leaf = leaf
            group.computed = len(group.token_ids) - len(leaf.tokens)
            wanted += len(group.pending)
            started.append(group)
        self.running += started
        return started

    def assign(self) -> list[Assignment]:
        """Give free slots to pending samples of running prompts, in order."""
        assignments = []
        for group in self.running:
            while group.pending and self.free_slots:
                request, index = group.pending.popleft()
                slot = heapq.heappop(self.free_slots)
                group.slots.append(slot)
                assignments.append((group, request, index, slot))
        return assignments

    def finish(self, group: Group, slot: int) -> None:
        group.slots.remove(slot)
        heapq.heappush(self.free_slots, slot)
        if not group.slots and not group.pending:
            self.running.remove(group)
            assert group.leaf is not None
            self.tree.release(group.leaf)
            group.leaf = group.logits = None
