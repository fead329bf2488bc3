"""The two attentions of a device's passes: prompts by torch's, decode steps by slab_attention.

A decode step's attention is cut into work once for each composition of the batch. The cut lies in
buffers of fixed address, so that a step recorded for one composition serves others of its size.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right

from t2engine.engine.batch import DecodeBatch
from t2engine.engine.device_cache import DeviceCache
from t2engine.model.device_model import DeviceModel
from t2engine.ops import AttentionPlan, load_function, plan_attention, planned, slab_attention

ITEMS_AT_ONCE = 64  # a cut is padded with empty items to a multiple of these


def attend_to_prompt(q: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """The last T of L tokens of a prompt, causally. q [T, H, D], keys and values [H_kv, L, D]."""
    (T, H, _), (H_kv, L, _) = q.shape, keys.shape
    k, v = (x.repeat_interleave(H // H_kv, 0)[None] for x in (keys, values))
    mask = causal_lower_right(T, L) if T < L else None
    out = functional.scaled_dot_product_attention(
        q.transpose(0, 1)[None], k, v, attn_mask=mask, is_causal=mask is None, scale=scale
    )
    return out[0].transpose(0, 1)  # [T, H, D]


class StepAttention:
    """slab_attention for one composition of the batch at a time."""

    def __init__(self, model: DeviceModel, cache: DeviceCache, capacity: int) -> None:
        self.model, self.cache, self.capacity = model, cache, capacity
        self.backend = slab_attention.pick(model.device.type)
        self.segments: tuple[Tensor, Tensor] | None = None
        self.plan: AttentionPlan | None = None
        self.scratch: tuple[Tensor, Tensor] | None = None
        self.generation = 0  # of the buffers
        self.buffers: dict[str, Tensor] = {}

    def arrange(self, batch: DecodeBatch, num_rows: int) -> None:
        """num_rows: of the step, those of the batch first."""
        self.segments = batch.segment_columns, batch.segment_rows
        if self.backend == "torch":
            return
        columns, rows = batch.segment_columns.tolist(), batch.segment_rows.tolist()
        segments = [(*c, *r) for c, r in zip(columns, rows, strict=True)]
        config = self.model.config
        sharers = config.num_heads // config.num_kv_heads
        sizes = config.num_kv_heads, num_rows, sharers, config.head_dim
        q = self.cache.prefix_k[0].new_empty(1).expand(sizes)
        plan = plan_attention(segments, q, self.backend, invariant=self.model.invariant)
        num_items = -(-len(plan.items) // ITEMS_AT_ONCE) * ITEMS_AT_ONCE
        self.reserve(num_items, len(plan.spans), plan.num_states)
        for name in ("items", "row_states", "row_spans", "spans"):
            made = getattr(plan, name)
            self.buffers[name][: len(made)] = made
        self.buffers["items"][len(plan.items) : num_items] = 0
        self.plan = AttentionPlan(
            items=self.buffers["items"][:num_items],
            row_states=self.buffers["row_states"][: num_rows + 1],
            row_spans=self.buffers["row_spans"][: num_rows + 1],
            spans=self.buffers["spans"],
            num_states=plan.num_states,
            choice=plan.choice,
        )

    def reserve(self, num_items: int, num_spans: int, num_states: int) -> None:
        """Have buffers of at least these sizes; new ones are a new generation."""
        held = self.scratch[0].shape[0] if self.scratch is not None else 0
        buffers = self.buffers
        if buffers and (
            num_items <= len(buffers["items"])
            and num_spans <= len(buffers["spans"])
            and num_states <= held
        ):
            return
        self.generation += 1
        device, config = self.model.device, self.model.config

        def integers(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int32, device=device)

        self.buffers = {
            "items": integers(2 * num_items, 6),
            "row_states": integers(self.capacity + 1),
            "row_spans": integers(self.capacity + 1),
            "spans": integers(2 * num_spans + 1, 2),
        }
        states = max(num_states, held)
        self.scratch = (
            torch.empty(states, config.num_heads, config.head_dim, device=device),
            torch.empty(states, config.num_heads, device=device),
        )

    @property
    def key(self) -> tuple[object, ...]:
        """Two compositions of one key are served by the same recorded step."""
        if self.plan is None:
            return ()
        return self.generation, len(self.plan.items), self.plan.choice

    def __call__(
        self, layer: int, q: Tensor, row_chunk: Tensor, first: Tensor, last: Tensor
    ) -> Tensor:
        """q [H_kv, R, G, D]; out [R, H, D]."""
        cache, scale = self.cache, self.model.scale
        prefix = cache.prefix_k[layer], cache.prefix_v[layer]
        own = cache.slab_k[layer], cache.slab_v[layer], row_chunk, first, last
        if self.plan is None:
            assert self.segments is not None, "a batch has been arranged"
            attended: Tensor = slab_attention(
                q, *prefix, *self.segments, *own, scale, backend="torch"
            )
            return attended
        H_kv, R, G, D = q.shape
        out = q.new_empty(R, H_kv * G, D)
        function = load_function(slab_attention.native[self.backend])
        function(out, *planned(self.plan, q, *prefix, *own, scale, self.scratch))
        return out
