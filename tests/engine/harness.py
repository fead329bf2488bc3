"""Transformers' answers beside ours, on the tiny models of tests/model/tiny.py."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from torch import Tensor

from t2engine.engine.batch import make_decode_batch
from t2engine.engine.cache import KeyValueCache
from t2engine.engine.forward import Executor, OpsExecutor, prefill
from t2engine.engine.memory import MemoryPlan
from t2engine.engine.native import NativeExecutor, NativeRuntime
from t2engine.engine.prefix_tree import PrefixTree
from t2engine.engine.requests import Group
from t2engine.engine.slots import Slots
from t2engine.model.config import read_config
from t2engine.model.transformer import Transformer
from t2engine.model.weights import open_weights
from t2engine.schema import FLOAT32, Precision


def load_ours(model_dir: Path, precision: Precision = FLOAT32, threads: int = 1) -> Transformer:
    config = read_config(model_dir)
    model = Transformer(config, open_weights(model_dir, config), threads, precision)
    model.reserve(config.max_context_len)
    return model


def load_theirs(model_dir: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    transformers.logging.disable_progress_bar()
    return transformers.AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=dtype, attn_implementation="eager"
    ).eval()


@torch.inference_mode()
def their_logits(model: torch.nn.Module, token_ids: list[int]) -> Tensor:
    """Logits after every token. [T, V]"""
    return model(torch.tensor([token_ids])).logits[0].float()


def plan_for(prefix_capacity: int, slots: int, suffix_capacity: int) -> MemoryPlan:
    rows = max(slots, 256)
    return MemoryPlan(slots, rows, slots, prefix_capacity, suffix_capacity, 0, 0, 0)


def make_executor(
    model: Transformer, plan: MemoryPlan, native: bool, isa: str | None = None
) -> Executor:
    """isa: the instruction set of the native step; None takes the fastest."""
    cache = KeyValueCache(model.config, plan, model.precision.cache)
    if not native:
        return OpsExecutor(model, cache)
    maker = f"t2engine._C.{isa}:make_decoder" if isa else "t2engine._C:make_decoder"
    whole = NativeRuntime(model, maker)
    whole.reserve(model.config.max_context_len)
    return NativeExecutor(whole, cache, plan.rows, plan.logit_rows)


@torch.inference_mode()
def our_logits(
    model: Transformer,
    token_ids: list[int],
    prompt_len: int,
    native: bool = True,
    isa: str | None = None,
) -> Tensor:
    """Logits after token prompt_len - 1 (from prefill) and after each later one (from decode)."""
    steps = len(token_ids) - prompt_len
    plan = plan_for(prompt_len, slots=1, suffix_capacity=max(1, steps))
    executor = make_executor(model, plan, native, isa)
    group = Group(tuple(token_ids[:prompt_len]), prompt_id=0, slots=[0])
    group.leaf = PrefixTree(prompt_len).insert(group.token_ids)
    prefill(executor, [group])
    assert group.logits is not None
    rows = [group.logits]
    slots = Slots(1, steps + 1, [])
    batch = make_decode_batch([group])
    for step in range(steps):
        slots.history[0, step] = token_ids[prompt_len + step]
        slots.drawn[0] = step + 1
        rows.append(executor.logits(executor.decode(batch, slots)))
    return torch.cat(rows)  # [steps + 1, V]
