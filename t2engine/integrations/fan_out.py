"""Generation requests of an evaluation harness, served as fan-outs: one prompt, n samples.

A harness asks for k answers by k clones of a request. Clones become one request with n = k, whose
prompt is computed once; answer j goes to clone j. Where the answer is the most probable one, it is
drawn once and copied. `generation_params` reads the keyword arguments of lm-evaluation-harness:

    until                                       texts that end an answer; special tokens by their id
    max_gen_toks, max_new_tokens, max_tokens,
        max_completion_tokens                   the first that is there counts
    do_sample, temperature                      no do_sample: samples where temperature > 0;
                                                do_sample false: greedy, whatever the temperature
    top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty, min_tokens, seed,
        stop_token_ids, ignore_eos              as in SamplingParams

Raises: ValueError for a keyword that is not known, naming those that are.
Source: EleutherAI/lm-evaluation-harness, docs/interface.md and docs/model_guide.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from t2engine.schema import SamplingParams

MOST_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
AS_THEY_ARE = (
    *("top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("min_tokens", "seed", "stop_token_ids", "ignore_eos"),
)
WITHOUT_EFFECT = {"num_beams": 1, "use_cache": True}  # of other engines, where they ask for nothing
KNOWN = ("until", *MOST_TOKENS, "do_sample", "temperature", *AS_THEY_ARE)

Prompt = tuple[int, ...]


@dataclass(frozen=True)
class FanOut:
    """One prompt with params.n samples, or one that is copied, and who asked for them."""

    prompt: Prompt
    params: SamplingParams
    places: tuple[int, ...]  # in the list of requests


def generation_params(
    kwargs: Mapping[str, Any],
    *,
    default_max_tokens: int,
    seed: int | None,
    special_token: Callable[[str], int | None],
) -> SamplingParams:
    """What one answer is drawn with.

    special_token: the id of a text that is a special token, which no answer's text ever holds.
    """
    given = {name: value for name, value in kwargs.items() if value is not None}
    for name, value in WITHOUT_EFFECT.items():
        if given.get(name, value) == value:
            given.pop(name, None)
    unknown = sorted(set(given) - set(KNOWN))
    if unknown:
        raise ValueError(
            f"generation_kwargs must be among {', '.join(KNOWN)}, got {', '.join(unknown)}; "
            "leave it out of the task, or override it"
        )
    most = next((given[name] for name in MOST_TOKENS if name in given), default_max_tokens)
    same = {name: given[name] for name in AS_THEY_ARE if name in given}
    ends = [(text, special_token(text)) for text in texts_of(given.get("until"))]
    stop_ids = (*same.pop("stop_token_ids", ()), *(i for _, i in ends if i is not None))
    return SamplingParams(
        temperature=temperature_of(given),
        max_tokens=whole(most),
        stop=tuple(text for text, i in ends if i is None),
        stop_token_ids=tuple(dict.fromkeys(stop_ids)),
        **{"seed": seed, **same},
    )


def texts_of(until: Any) -> list[str]:
    """Once each; an empty text ends nothing."""
    listed = [until] if isinstance(until, str) else until or []
    if not isinstance(listed, list | tuple) or not all(isinstance(text, str) for text in listed):
        raise ValueError(f"until must be a text or a list of texts, got {until!r}")
    return [text for text in dict.fromkeys(listed) if text]


def temperature_of(given: Mapping[str, Any]) -> float:
    do_sample, temperature = given.get("do_sample"), given.get("temperature")
    if do_sample not in (None, True, False):
        raise ValueError(f"do_sample must be true or false, got {do_sample!r}")
    if do_sample is None:
        do_sample = temperature is not None and temperature != 0
    if not do_sample:
        return 0.0
    if temperature == 0:
        raise ValueError(
            f"temperature must be above 0 where do_sample is true, got {temperature!r}; "
            "say do_sample: false for the most probable answer"
        )
    return 1.0 if temperature is None else temperature


def whole(value: Any) -> Any:
    """64.0, as some task files have it, is 64."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def fan_outs(asked: Sequence[tuple[Prompt, SamplingParams]]) -> list[FanOut]:
    """One for each distinct prompt and parameters, in order of first appearance."""
    places: dict[tuple[Prompt, SamplingParams], list[int]] = {}
    for place, request in enumerate(asked):
        places.setdefault(request, []).append(place)
    return [
        FanOut(prompt, replace(params, n=1 if is_greedy(params) else len(at)), tuple(at))
        for (prompt, params), at in places.items()
    ]


def is_greedy(params: SamplingParams) -> bool:
    return params.temperature == 0


def in_order(served: Sequence[FanOut], texts: Sequence[Sequence[str]]) -> list[str]:
    """The answers to the requests that the fan-outs came from; texts of each, sample by sample."""
    found: dict[int, str] = {}
    for fan_out, own in zip(served, texts, strict=True):
        answers = [own[0]] * len(fan_out.places) if is_greedy(fan_out.params) else own
        found.update(zip(fan_out.places, answers, strict=True))
    return [found[place] for place in range(len(found))]


def cut_prompt(prompt: Prompt, max_tokens: int, max_context_len: int) -> Prompt:
    """The end of a prompt that leaves room for max_tokens, as the harness cuts it.

    Raises: ValueError when no token of it would be left.
    """
    room = max_context_len - max_tokens
    if room < 1:
        raise ValueError(
            f"max_gen_toks must be below the model's context of {max_context_len} tokens, "
            f"got {max_tokens}"
        )
    return prompt[-room:]
