"""What a sample may ask beyond temperature and truncation: penalties, and the model's own records.

Source: the penalties are those of vLLM's SamplingParams; repetition from Keskar et al.,
arXiv:1909.05858, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from t2engine.engine.requests import Request
from t2engine.schema import Logprob, SamplingParams


def changes_logits(params: SamplingParams) -> bool:
    """Whether a sample's logits need more than temperature and truncation."""
    return (
        params.repetition_penalty != 1
        or params.presence_penalty != 0
        or params.frequency_penalty != 0
        or params.min_tokens > 0
    )


def needs_every_token(params: SamplingParams) -> bool:
    """Whether something must be done for the sample after, or before, each of its tokens."""
    return changes_logits(params) or params.logprobs is not None or bool(params.stop)


def can_run_ahead(params: SamplingParams) -> bool:
    """Whether the host need not see each token's logits before the next is drawn."""
    return not changes_logits(params) and params.logprobs is None


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
