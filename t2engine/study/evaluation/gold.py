"""The loss of the gold answers: one forward pass of the checkpoint, in the precision it is held in.

    loss = -sum_t ln p(token t | prompt, gold tokens before t)

The gold tokens are those of the completion and of what ends an answer: the end token, or the first
stop text. They are what the prompt's own tokens leave of prompt, completion and end tokenised
together; where those begin otherwise, because a token spans the seam, completion and end are
tokenised by themselves.

A question's loss depends on that question alone, whatever it is computed beside. A model on a GPU
is opened once more on the CPU for this.

Shapes: tokens, positions [T] of several questions, one after another; q [T, H, D]; k, v
        [T, H_kv, D].
Units:  natural-log loss, summed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from t2engine import ops
from t2engine.engine.llm import LLM
from t2engine.engine.memory import CHUNK_TOKENS
from t2engine.engine.torch_threads import one_torch_thread
from t2engine.model.tokenizer import Tokenizer
from t2engine.model.transformer import Transformer
from t2engine.model.weights import open_weights


@dataclass(frozen=True)
class Gold:
    """A prompt's tokens, and those whose loss is wanted."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        return self.prompt + self.completion


def gold_tokens(
    tokenizer: Tokenizer, prompt: str, ending: str, *, special: bool, end_ids: Sequence[int]
) -> Gold:
    """ending: completion and stop text; special: whether the tokenizer adds what begins a text.

    end_ids: tokens that end an answer by themselves, empty where a text does.
    """
    before = tokenizer.encode(prompt, add_special_tokens=special)
    whole = tokenizer.encode(prompt + ending, add_special_tokens=special)
    after = whole[len(before) :]
    if whole[: len(before)] != before:
        after = tokenizer.encode(ending, add_special_tokens=False)
    return Gold(tuple(before), (*after, *end_ids[:1]))


def gold_losses(llm: LLM, golds: Sequence[Gold]) -> list[float]:
    model = on_cpu(llm)
    model.reserve(max(len(gold.tokens) for gold in golds))
    losses: list[float] = []
    with one_torch_thread(), torch.inference_mode():
        for group in groups_of(golds):
            losses += losses_of(model, group)
    return losses


def on_cpu(llm: LLM) -> Transformer:
    if isinstance(llm.model, Transformer):
        return llm.model
    files = open_weights(llm.model_dir, llm.config)
    return Transformer(llm.config, files, torch.get_num_threads(), llm.precision)


def groups_of(golds: Sequence[Gold]) -> Iterator[list[Gold]]:
    """Some that go through the layers at once."""
    group: list[Gold] = []
    room = CHUNK_TOKENS
    for gold in golds:
        if group and len(gold.tokens) > room:
            yield group
            group, room = [], CHUNK_TOKENS
        group.append(gold)
        room -= len(gold.tokens)
    if group:
        yield group


def losses_of(model: Transformer, golds: Sequence[Gold]) -> list[float]:
    lengths = torch.tensor([len(gold.tokens) for gold in golds])
    bounds = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    spans = torch.stack([bounds[:-1], bounds[1:]], dim=1)
    span_bounds = torch.arange(len(bounds))
    tokens = torch.tensor([token for gold in golds for token in gold.tokens])
    positions = torch.cat([torch.arange(int(length)) for length in lengths])

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = (x.transpose(0, 1).contiguous() for x in (k, v))
        attended: Tensor = ops.prefill_attention(
            q, keys, values, bounds, spans, span_bounds, model.scale, threads=model.threads
        )
        return attended

    hidden = model.forward(tokens, positions, attend)
    losses = []
    for gold, end in zip(golds, bounds[1:].tolist(), strict=True):
        count = len(gold.completion)
        logits = model.logits(hidden[end - count - 1 : end - 1].contiguous())  # [count, V]
        wanted = torch.tensor(gold.completion)[:, None]
        losses.append(-float(logits.double().log_softmax(dim=1).gather(1, wanted).sum()))
    return losses
