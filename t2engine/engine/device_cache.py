"""Where keys and values live on a device: prompts' in columns, samples' own in slabs.

Per layer, keys and values each: prefix [H_kv, P, D], slabs [chunks, H_kv, T, D].
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.engine.memory import MemoryPlan
from t2engine.engine.slabs import SLAB_STEPS
from t2engine.model.device_model import DeviceModel


class DeviceCache:
    def __init__(self, model: DeviceModel, plan: MemoryPlan, slab_steps: int = SLAB_STEPS) -> None:
        config = model.config
        assert plan.suffix_capacity % slab_steps == 0, "a slot's columns are whole slabs"
        self.slab_steps = slab_steps
        self.ring = plan.suffix_capacity // slab_steps
        self.num_chunks = plan.slots * self.ring
        head = config.num_kv_heads, config.head_dim

        def stores(*shape: int) -> list[Tensor]:
            layers = torch.empty(config.num_layers, *shape, dtype=model.dtype, device=model.device)
            return list(layers)

        prefix = head[0], plan.prefix_capacity, head[1]
        slab = self.num_chunks, head[0], slab_steps, head[1]
        self.prefix_k, self.prefix_v = stores(*prefix), stores(*prefix)
        self.slab_k, self.slab_v = stores(*slab), stores(*slab)
