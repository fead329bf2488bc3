"""Transformers' answers beside ours, on the tiny models of tests/model/tiny.py."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from torch import Tensor

from t2engine.engine.cache import PrefixStore, SuffixStore
from t2engine.engine.forward import decode, make_batch, prefill
from t2engine.engine.requests import Group
from t2engine.model.config import read_config
from t2engine.model.transformer import Transformer
from t2engine.model.weights import open_weights


def load_ours(model_dir: Path) -> Transformer:
    config = read_config(model_dir)
    model = Transformer(config, open_weights(model_dir, config), threads=1)
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


@torch.inference_mode()
def our_logits(model: Transformer, token_ids: list[int], prompt_len: int) -> Tensor:
    """Logits after token prompt_len - 1 (from prefill) and after each later one (from decode)."""
    steps = len(token_ids) - prompt_len
    prefix = PrefixStore(model.config, prompt_len)
    suffix = SuffixStore(model.config, 1, max(1, steps))
    group = Group(tuple(token_ids[:prompt_len]), prompt_id=0, slots=[0])
    group.span = prefix.allocate(prompt_len) or (0, 0)
    prefill(model, prefix, [group])
    assert group.logits is not None
    rows = [group.logits]
    for step in range(steps):
        tokens = torch.tensor([token_ids[prompt_len + step]])
        batch = make_batch([group])
        hidden = decode(model, prefix, suffix, batch, tokens, torch.tensor([step]))
        rows.append(model.logits(hidden))
    return torch.cat(rows)  # [steps + 1, V]
