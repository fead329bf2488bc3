"""A model on a device that torch drives: how calls run its prefill and, one by one, its steps.

DeviceExecutor fills the role of `forward.py`'s executors, so the engine's simple loop runs on it
whatever a request asks. `device_run.py` is the loop that does not wait for the host.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from t2engine import ops
from t2engine.engine.batch import DecodeBatch, PrefillBatch
from t2engine.engine.device_attention import StepAttention, attend_to_prompt
from t2engine.engine.device_cache import DeviceCache
from t2engine.engine.device_rows import RowView, to_device
from t2engine.engine.memory import FLOAT_BYTES, SHARE_OF_AVAILABLE, MemoryPlan, available_bytes
from t2engine.engine.slabs import SLAB_STEPS, ring_for
from t2engine.engine.slots import Slots
from t2engine.model.device_model import DeviceModel
from t2engine.ops import SHARING_BLOCK

if TYPE_CHECKING:
    from t2engine.engine.device_stage import DeviceStage

DEVICE_CHUNK_TOKENS = 2048  # prompt tokens that go through the layers at once
FIRST_LOGITS = 1 << 26  # of samples that draw their first tokens together
STEPS_AHEAD = 32  # of decoding, enqueued before the host looks
STATES_OF_ROW = 4  # of the prefix, as the plan of the attention leaves them, at most on average
FEWEST_STATES = 1 << 15  # where few rows have their keys split over all processors


class DeviceRuntime:
    """slab_steps: of a chunk of the suffix store; steps_ahead: enqueued at once, at most."""

    runs_ahead = True
    chunk_tokens: int | None

    def __init__(
        self, model: DeviceModel, slab_steps: int = SLAB_STEPS, steps_ahead: int = STEPS_AHEAD
    ) -> None:
        self.model = model
        self.slab_steps, self.steps_ahead = slab_steps, steps_ahead
        self.idle: DeviceStage | None = None  # what the last call left
        # Pieces that part where segments may, so that a token's company is always the same.
        self.chunk_tokens = SHARING_BLOCK if model.invariant else DEVICE_CHUNK_TOKENS

    def reserve(self, length: int) -> None:
        self.model.reserve(length)

    def available_bytes(self) -> int:
        """For all but the weights, which are there; what the last call left can be taken back."""
        idle = self.idle.nbytes if self.idle is not None else 0
        if self.model.device.type != "cuda":
            return int((available_bytes() + idle) * SHARE_OF_AVAILABLE)
        free, _ = torch.cuda.mem_get_info(self.model.device)
        held = torch.cuda.memory_reserved(self.model.device)
        used = torch.cuda.memory_allocated(self.model.device)
        return int((free + held - used + idle) * SHARE_OF_AVAILABLE)

    def room_of_steps(self, num_steps: int) -> int:
        """Columns of a slot for so many steps: whole slabs, wherever the steps begin."""
        return ring_for(num_steps, self.slab_steps) * self.slab_steps

    def workspace_bytes(self, rows: int, logit_rows: int) -> int:
        config, size = self.model.config, self.model.dtype.itemsize
        mlp_width = config.intermediate_size * (3 if config.gated_mlp else 2)
        heads_width = config.num_heads * config.head_dim
        query_width = heads_width + 2 * config.num_kv_heads * config.head_dim
        activations = rows * (6 * config.hidden_size + mlp_width + 4 * query_width)
        states = max(STATES_OF_ROW * rows, FEWEST_STATES) * (heads_width + config.num_heads)
        logits = logit_rows * config.vocab_size * (size + FLOAT_BYTES)
        first = min(FIRST_LOGITS, rows * config.vocab_size) * (size + FLOAT_BYTES)
        return size * activations + FLOAT_BYTES * states + max(logits, first)

    def executor(self, plan: MemoryPlan) -> DeviceExecutor:
        return DeviceExecutor(self.model, DeviceCache(self.model, plan, self.slab_steps), plan)


class DeviceExecutor:
    """Runs the layers for one call's stores."""

    def __init__(self, model: DeviceModel, cache: DeviceCache, plan: MemoryPlan) -> None:
        self.model, self.cache = model, cache
        self.cos, self.sin = model.cos, model.sin  # a later call may replace the model's
        self.attention = StepAttention(model, cache, plan.slots)
        self.arranged: DecodeBatch | None = None
        self.logit_rows = plan.logit_rows
        self.logits_to_host = True

    def prefill(self, batch: PrefillBatch) -> Tensor:
        model, cache, config = self.model, self.cache, self.model.config
        tokens, positions, columns, wanted = (
            to_device(x, model.device)
            for x in (batch.tokens, batch.positions, batch.columns, batch.wanted)
        )
        T, heads = len(tokens), (config.num_heads, config.num_kv_heads, config.num_kv_heads)
        cos, sin = self.cos[positions], self.sin[positions]

        def attend(index: int, qkv: Tensor) -> Tensor:
            layer = model.layers[index]
            if layer.qkv.bias is not None:
                qkv = qkv + layer.qkv.bias
            q, k, v = qkv.view(T, sum(heads), config.head_dim).split(heads, dim=1)
            q, k = self.turned(q, layer.q_norm, cos, sin), self.turned(k, layer.k_norm, cos, sin)
            cache.prefix_k[index][:, columns] = k.transpose(0, 1)
            cache.prefix_v[index][:, columns] = v.transpose(0, 1)
            return self.attend_to_prompts(index, q, batch).flatten(1)

        return model.forward(model.embed[tokens], attend)[wanted]

    def turned(self, x: Tensor, norm: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        """Heads scaled, where the model does, and rotated in float32. x [T, heads, D]."""
        if norm is not None:
            rows = x.reshape(-1, x.shape[2])
            x = ops.rms_norm(rows, norm, self.model.config.norm_eps).view(x.shape)
        turned: Tensor = ops.rotary_embedding(x.float().contiguous(), cos, sin)
        return turned.to(x.dtype)

    def attend_to_prompts(self, layer: int, q: Tensor, batch: PrefillBatch) -> Tensor:
        """q [T, H, D]; every prompt's tokens attend to its keys so far."""
        keys, values = self.cache.prefix_k[layer], self.cache.prefix_v[layer]
        bounds, span_bounds = batch.query_bounds.tolist(), batch.span_bounds.tolist()
        spans = batch.spans.tolist()
        out = []
        for i, (first, end) in enumerate(pairwise(bounds)):
            own = spans[span_bounds[i] : span_bounds[i + 1]]
            k, v = (
                torch.cat([store[:, start:stop] for start, stop in own], dim=1)
                for store in (keys, values)
            )
            out.append(attend_to_prompt(q[first:end], k, v, self.model.scale))
        return torch.cat(out)

    def decode(self, batch: DecodeBatch, slots: Slots) -> Tensor:
        """One step, told by the host where every row stands; a slot has chunks of its own."""
        device, ring = self.model.device, self.cache.ring
        if batch is not self.arranged:
            self.attention.arrange(batch, len(batch.row_slot))
            self.arranged = batch
        stored = slots.drawn[batch.row_slot] - 1  # the last token is not stored yet
        tokens = to_device(slots.history[batch.row_slot, stored], device)
        position, time = to_device(batch.prefix_len + stored, device), to_device(stored, device)
        row_chunk = to_device(batch.row_slot * ring + torch.arange(ring)[:, None], device)
        return self.step(
            self.model.embed[tokens],
            *(position, torch.zeros_like(time), time, torch.ones_like(time), row_chunk),
        )

    def step(
        self,
        hidden: Tensor,
        position: Tensor,
        first: Tensor,
        last: Tensor,
        alive: Tensor,
        row_chunk: Tensor,
    ) -> Tensor:
        """Hidden states after the layers, of rows as step_update describes them."""
        model, cache = self.model, self.cache

        def attend(index: int, qkv: Tensor) -> Tensor:
            layer = model.layers[index]
            q = ops.rope_append(
                *(qkv, layer.qkv.bias, layer.q_norm, layer.k_norm, self.cos, self.sin),
                *(position, last, alive, row_chunk, cache.slab_k[index], cache.slab_v[index]),
                model.config.norm_eps,
            )
            return self.attention(index, q, row_chunk, first, last).flatten(1)

        return model.forward(hidden, attend)

    def decode_step(self, view: RowView, ends: tuple[Tensor, Tensor]) -> None:
        """A whole step: the layers, a token for each row, and what the next step starts from."""
        at = view.columns
        where = (at["position"], at["first"], at["last"], at["alive"], view.row_chunk)
        hidden = self.step(view.hidden, *where)
        tokens = []
        for first in range(0, len(hidden), self.logit_rows):
            block = slice(first, first + self.logit_rows)
            tokens.append(view.part(block).draw(self.model.logits(hidden[block])))
        view.update(torch.cat(tokens), ends, self.model.embed)

    def logits(self, hidden: Tensor) -> Tensor:
        logits = self.model.logits(hidden)
        return logits.float().cpu() if self.logits_to_host else logits
