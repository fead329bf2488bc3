"""Steps recorded once and played back: on an NVIDIA GPU as CUDA graphs, elsewhere as plain calls.

The first step of a kind is run as it is, which compiles what it needs; it is recorded when a second
follows. Everything a step reads lies at fixed addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch

MOST_GRAPHS = 64


class StepGraphs:
    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.on_gpu else None
        self.seen: set[Hashable] = set()

    def run(self, key: Hashable, step: Callable[[], None], count: int) -> None:
        """The step, count times. Steps of one key differ only in what lies where they look."""
        if not self.on_gpu:
            for _ in range(count):
                step()
            return
        if count and key not in self.seen:
            self.seen.add(key)
            step()
            count -= 1
        if not count:
            return
        if key not in self.graphs:
            if len(self.graphs) >= MOST_GRAPHS:
                self.graphs.clear()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool):
                step()
            self.graphs[key] = graph
        for _ in range(count):
            self.graphs[key].replay()
