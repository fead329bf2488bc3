"""From logits to tokens: each row's own parameters, penalties and stream of uniforms.

A row's uniform is philox_uniform(seed, prompt identity, sample index, step), so a draw depends on
nothing but the sample's own logits.

Source: the penalties are those of vLLM's SamplingParams; repetition from Keskar et al.,
arXiv:1909.05858, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from t2engine import ops
from t2engine.engine.requests import Group, Request, signed
from t2engine.schema import Logprob, SamplingParams


@dataclass(frozen=True)
class Drawn:
    """One step's draws. tokens [R] int64, logprobs [R] under the distribution drawn from."""

    tokens: Tensor
    logprobs: Tensor


@dataclass(frozen=True)
class RowParams:
    """Sampling parameters by row, as the columns sample_tokens and philox_uniform read. All [R]."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    seed: Tensor
    prompt: Tensor
    sample: Tensor

    def draw(self, logits: Tensor, step: Tensor, threads: int) -> Drawn:
        """logits [R, V]; step [R] int64 counts the tokens drawn before."""
        uniform = ops.philox_uniform(self.seed, self.prompt, self.sample, step, threads=threads)
        tokens, logprobs = ops.sample_tokens(
            logits,
            self.temperature,
            self.top_k,
            self.top_p,
            self.min_p,
            uniform,
            threads=threads,
        )
        return Drawn(tokens, logprobs)


class SlotParams:
    """The sampling parameters of every slot; `rows` gathers those of a batch."""

    def __init__(self, slots: int) -> None:
        self.columns = RowParams(
            temperature=torch.zeros(slots),
            top_k=torch.zeros(slots, dtype=torch.int64),
            top_p=torch.ones(slots),
            min_p=torch.zeros(slots),
            seed=torch.zeros(slots, dtype=torch.int64),
            prompt=torch.zeros(slots, dtype=torch.int64),
            sample=torch.zeros(slots, dtype=torch.int64),
        )

    def set(self, slot: int, group: Group, request: Request, index: int) -> None:
        params, columns = request.params, self.columns
        columns.temperature[slot] = params.temperature
        columns.top_k[slot] = params.top_k
        columns.top_p[slot] = params.top_p
        columns.min_p[slot] = params.min_p
        columns.seed[slot] = signed(request.seed)
        columns.prompt[slot] = group.prompt_id
        columns.sample[slot] = request.first_index + index

    def rows(self, slots: Tensor) -> RowParams:
        return RowParams(**{name: column[slots] for name, column in vars(self.columns).items()})


def changes_logits(params: SamplingParams) -> bool:
    """Whether a sample's logits need more than temperature and truncation."""
    return (
        params.repetition_penalty != 1
        or params.presence_penalty != 0
        or params.frequency_penalty != 0
        or params.min_tokens > 0
    )


def adjust_logits(logits: Tensor, request: Request, generated: Sequence[int]) -> None:
    """Apply a sample's penalties and its minimum length to its logits [V], in place."""
    params = request.params
    output = torch.tensor(generated, dtype=torch.int64)
    if params.repetition_penalty != 1:
        prompt = torch.tensor(request.token_ids, dtype=torch.int64)
        seen = torch.cat([prompt, output]).unique()
        score = logits[seen]
        scaled = torch.where(
            score > 0, score / params.repetition_penalty, score * params.repetition_penalty
        )
        logits[seen] = scaled
    if params.presence_penalty or params.frequency_penalty:
        used, count = output.unique(return_counts=True)
        logits[used] -= params.presence_penalty + params.frequency_penalty * count
    if len(generated) < params.min_tokens and request.end_ids:
        logits[torch.tensor(sorted(request.end_ids))] = float("-inf")


def record_logprobs(logits: Tensor, token: int, sampled: float, most: int) -> dict[int, Logprob]:
    """The drawn token and the `most` most probable under the model itself. logits [V]."""
    raw = logits.log_softmax(dim=0)
    best = raw.topk(most).indices.tolist() if most else []
    records = {}
    for rank, candidate in enumerate(best, start=1):
        records[candidate] = Logprob(float(raw[candidate]), rank)
    rank = 1 + int((raw > raw[token]).sum())
    records[token] = Logprob(float(raw[token]), rank, sampled)
    return records
