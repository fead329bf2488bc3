"""What a call decodes on: stores, rows and recorded steps, kept for the next call that they fit.

Recorded steps hold addresses, so they live and go with the memory they look at.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.engine.device import DeviceExecutor, DeviceRuntime
from t2engine.engine.device_rows import DeviceRows
from t2engine.engine.memory import MemoryPlan
from t2engine.engine.slots import Slots
from t2engine.engine.step_graphs import StepGraphs

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)


def bucket(rows: int) -> int:
    """Rows of the recorded step that serves so many."""
    return next((size for size in BUCKETS if size >= rows), -(-rows // 1024) * 1024)


class DeviceStage:
    def __init__(self, runtime: DeviceRuntime, plan: MemoryPlan) -> None:
        self.plan = plan
        self.executor: DeviceExecutor = runtime.executor(plan)
        self.executor.logits_to_host = False
        cache, model = self.executor.cache, runtime.model
        capacity = bucket(plan.slots)
        self.executor.attention.capacity = capacity
        self.rows = DeviceRows(capacity, cache.ring, cache.slab_steps, model.embed)
        self.graphs = StepGraphs(model.device)
        self.ends: tuple[Tensor, Tensor] | None = None

    @property
    def nbytes(self) -> int:
        """Of the stores, which are nearly all of it."""
        cache = self.executor.cache
        stores = (cache.prefix_k, cache.prefix_v, cache.slab_k, cache.slab_v)
        return sum(layer.nbytes for store in stores for layer in store)

    def fits(self, plan: MemoryPlan, runtime: DeviceRuntime) -> bool:
        """Whether a call of this plan can decode on it."""
        own, executor = self.plan, self.executor
        return (
            own.slots >= plan.slots
            and own.prefix_capacity >= plan.prefix_capacity
            and own.suffix_capacity >= plan.suffix_capacity
            and own.logit_rows >= plan.logit_rows
            and executor.cos is runtime.model.cos
        )

    def prepare(self, slots: Slots) -> tuple[Tensor, Tensor]:
        """For a new call: nothing lives. Returns where its end sets are, end_bounds and end_ids."""
        self.rows.clear()
        wanted = (slots.end_bounds, slots.end_ids)
        if self.ends is None or any(
            len(held) < len(new) for held, new in zip(self.ends, wanted, strict=True)
        ):
            device = self.rows.hidden.device
            self.ends = (wanted[0].to(device), wanted[1].to(device))
            self.graphs = StepGraphs(device)  # those there are look elsewhere
        else:
            for held, new in zip(self.ends, wanted, strict=True):
                held[: len(new)] = new.to(held.device)
        return self.ends


def take_stage(runtime: DeviceRuntime, plan: MemoryPlan) -> DeviceStage:
    """The one that is idle, if it fits; else a new one in its place."""
    idle, runtime.idle = runtime.idle, None
    if idle is not None and idle.fits(plan, runtime):
        return idle
    del idle
    if runtime.model.device.type == "cuda":
        torch.cuda.empty_cache()
    return DeviceStage(runtime, plan)
