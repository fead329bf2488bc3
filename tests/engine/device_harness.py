"""The device's engine on the CPU's tensors, where torch's own operations stand in for kernels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from t2engine import LLM
from t2engine.engine.batch import make_decode_batch
from t2engine.engine.device import DeviceRuntime
from t2engine.engine.forward import prefill
from t2engine.engine.prefix_tree import PrefixTree
from t2engine.engine.requests import Group
from t2engine.engine.slots import Slots
from t2engine.model.config import read_config
from t2engine.model.device_model import DeviceModel
from t2engine.model.weights import open_weights
from tests.engine.harness import plan_for


def load_on_device(
    model_dir: Path, device: str = "cpu", dtype: str = "float32", invariant: bool = False
) -> DeviceModel:
    config = read_config(model_dir)
    files = open_weights(model_dir, config)
    return DeviceModel(config, files, torch.device(device), dtype, invariant)


def llm_on_device(
    model_dir: Path,
    max_num_seqs: int = 256,
    slab_steps: int = 4,
    steps_ahead: int = 3,
    device: str = "cpu",
) -> LLM:
    """Small slabs and bursts, so that short samples go through many of them."""
    llm = LLM(model_dir, device="cpu", max_num_seqs=max_num_seqs)
    model = load_on_device(model_dir, device)
    llm.runtime = DeviceRuntime(model, slab_steps, steps_ahead)
    llm.model = model
    return llm


@torch.inference_mode()
def device_logits(
    model: DeviceModel, token_ids: list[int], prompt_len: int, slab_steps: int = 4
) -> Tensor:
    """Logits after token prompt_len - 1 (from prefill) and after each later one (from decode)."""
    steps = len(token_ids) - prompt_len
    runtime = DeviceRuntime(model, slab_steps)
    runtime.reserve(len(token_ids))
    capacity = runtime.room_of_steps(max(1, steps))
    executor = runtime.executor(plan_for(prompt_len, slots=1, suffix_capacity=capacity))
    group = Group(tuple(token_ids[:prompt_len]), prompt_id=0, slots=[0])
    group.leaf = PrefixTree(prompt_len).insert(group.token_ids)
    prefill(executor, [group], runtime.chunk_tokens)
    assert group.logits is not None
    rows = [group.logits]
    slots = Slots(1, steps + 1, [])
    batch = make_decode_batch([group])
    for step in range(steps):
        slots.history[0, step] = token_ids[prompt_len + step]
        slots.drawn[0] = step + 1
        rows.append(executor.logits(executor.decode(batch, slots)))
    return torch.cat(rows)  # [steps + 1, V]
