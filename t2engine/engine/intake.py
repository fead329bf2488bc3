"""What a caller asks, checked and turned into requests before any work starts.

Raises: ValueError naming the prompt or parameter that cannot be served, and what would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from t2engine.engine.requests import Request, choose_seed
from t2engine.model.tokenizer import Tokenizer
from t2engine.schema import ModelConfig, SamplingParams

Prompt = str | Sequence[int]


@dataclass(frozen=True)
class Intake:
    """A model's side of the bargain: its context, its vocabulary, its end tokens."""

    config: ModelConfig
    tokenizer: Tokenizer
    eos_token_ids: tuple[int, ...]

    def requests(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None,
    ) -> list[Request]:
        listed = list_of_prompts(prompts)
        each = list_of_params(params, len(listed))
        requests = []
        first_handle = 0
        for number, (prompt, chosen) in enumerate(zip(listed, each, strict=True)):
            where = f"prompt {number}" if len(listed) > 1 else "prompt"
            requests.append(self.request(where, prompt, chosen, first_handle))
            first_handle += chosen.n
        return requests

    def request(
        self, where: str, prompt: Prompt, params: SamplingParams, first_handle: int
    ) -> Request:
        token_ids = self.tokenize(where, prompt)
        room = self.config.max_context_len - len(token_ids)
        require(
            room >= 1,
            f"{where} must leave room in the context of {self.config.max_context_len} tokens, "
            f"got {len(token_ids)} tokens; shorten it",
        )
        vocab_size = self.config.vocab_size
        outside = [t for t in (*token_ids, *params.stop_token_ids) if not 0 <= t < vocab_size]
        require(
            not outside,
            f"{where}: token ids must be in [0, {vocab_size}), got {outside[:1]}",
        )
        most = params.logprobs or 0
        require(most <= vocab_size, f"logprobs must be at most {vocab_size}, got {most}")
        require(
            not params.stop or self.tokenizer.has_text,
            f"stop strings need {self.tokenizer.model_dir}/tokenizer.json, which is missing; "
            "use stop_token_ids",
        )
        wanted = room if params.max_tokens is None else min(params.max_tokens, room)
        end_ids = set(params.stop_token_ids)
        if not params.ignore_eos:
            end_ids.update(self.eos_token_ids)
        return Request(
            prompt=prompt if isinstance(prompt, str) else None,
            token_ids=token_ids,
            params=params,
            seed=choose_seed(params.seed),
            end_ids=frozenset(end_ids),
            max_new_tokens=wanted,
            first_handle=first_handle,
        )

    def tokenize(self, where: str, prompt: Prompt) -> tuple[int, ...]:
        if isinstance(prompt, str):
            require(bool(prompt), f"{where} must not be empty")
            token_ids = tuple(self.tokenizer.encode(prompt))
        else:
            token_ids = tuple(int(token) for token in prompt)
        require(bool(token_ids), f"{where} must have at least one token, got none")
        return token_ids


def require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def list_of_prompts(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    if isinstance(prompts, str):
        return [prompts]
    listed = list(prompts)
    if listed and all(isinstance(item, int) for item in listed):
        return [listed]  # type: ignore[list-item]
    return listed  # type: ignore[return-value]


def list_of_params(
    params: SamplingParams | Sequence[SamplingParams] | None, num_prompts: int
) -> list[SamplingParams]:
    if params is None or isinstance(params, SamplingParams):
        return [params or SamplingParams()] * num_prompts
    require(
        len(params) == num_prompts,
        f"params must be one SamplingParams or one for each of {num_prompts} prompts, "
        f"got {len(params)}",
    )
    return list(params)
