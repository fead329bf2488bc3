"""Clones of a request as one fan-out, without a harness."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine import LLM, SamplingParams
from t2engine.integrations.fan_out import cut_prompt, fan_outs, generation_params, in_order
from t2engine.metering import decode_flops, prefill_flops

SPECIAL = {"</s>": 2}


def params_of(**kwargs: Any) -> SamplingParams:
    return generation_params(kwargs, default_max_tokens=40, seed=5, special_token=SPECIAL.get)


@pytest.mark.parametrize(
    ("kwargs", "want"),
    [
        ({}, {"temperature": 0.0}),
        ({"until": "\n"}, {"temperature": 0.0, "stop": ("\n",)}),
        (
            {"until": ["a", "", "</s>", "a", "b"]},
            {"temperature": 0.0, "stop": ("a", "b"), "stop_token_ids": (2,)},
        ),
        ({"do_sample": False, "temperature": 0.7}, {"temperature": 0.0}),
        ({"do_sample": True}, {"temperature": 1.0}),
        ({"temperature": 0.7}, {"temperature": 0.7}),
        ({"temperature": 0.0, "num_beams": 1}, {"temperature": 0.0}),
        ({"max_gen_toks": 7, "max_new_tokens": 9}, {"temperature": 0.0, "max_tokens": 7}),
        ({"max_completion_tokens": 9.0}, {"temperature": 0.0, "max_tokens": 9}),
        (
            {"do_sample": True, "top_k": 3, "top_p": 0.9, "min_p": 0.1, "seed": 8},
            {"temperature": 1.0, "top_k": 3, "top_p": 0.9, "min_p": 0.1, "seed": 8},
        ),
        (
            {"repetition_penalty": 1.1, "stop_token_ids": [2, 4], "until": "</s>"},
            {"temperature": 0.0, "repetition_penalty": 1.1, "stop_token_ids": (2, 4)},
        ),
        ({"top_p": None, "do_sample": None}, {"temperature": 0.0}),
    ],
    ids=str,
)
def test_generation_kwargs(kwargs: dict[str, Any], want: dict[str, Any]) -> None:
    assert params_of(**kwargs) == SamplingParams(**{"max_tokens": 40, "seed": 5, **want})


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"num_beams": 4}, "got num_beams"),
        ({"lenght": 4, "foo": 1}, "must be among until, .* got foo, lenght"),
        ({"until": 3}, "until must be a text or a list of texts, got 3"),
        ({"do_sample": "yes"}, "do_sample must be true or false, got 'yes'"),
        ({"do_sample": True, "temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": "hot"}, "temperature must be a finite number"),
        ({"max_gen_toks": 0}, "max_tokens must be"),
        ({"max_gen_toks": 1.5}, "max_tokens must be"),
        ({"do_sample": True, "top_p": 2.0}, "top_p must be in"),
    ],
    ids=str,
)
def test_what_cannot_be_generated(kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        params_of(**kwargs)


REQUESTS = st.lists(
    st.tuples(
        st.tuples(st.integers(0, 3)),
        st.sampled_from([params_of(), params_of(do_sample=True), params_of(temperature=0.5)]),
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(REQUESTS)
def test_everybody_gets_an_answer_of_its_own(requests: list[Any]) -> None:
    """Whatever the order; of greedy requests, the one answer there is."""
    served = fan_outs(requests)
    texts = [
        [f"{fan_out.prompt} {fan_out.params.temperature} {j}" for j in range(fan_out.params.n)]
        for fan_out in served
    ]
    answers = in_order(served, texts)
    assert len(served) == len(set(requests))
    assert [a.rsplit(" ", 1)[0] for a in answers] == [f"{p} {q.temperature}" for p, q in requests]
    sampled = [a for a, (_, q) in zip(answers, requests, strict=True) if q.temperature]
    assert len(set(sampled)) == len(sampled)
    assert sum(fan_out.params.n for fan_out in served if fan_out.params.temperature) == len(sampled)
    assert all(fan_out.params.n == 1 for fan_out in served if not fan_out.params.temperature)


def test_clones_cost_one_prefill_and_are_the_samples_of_a_plain_call() -> None:
    llm = LLM()
    texts = ["12+7*3=", "3*1+8=", "41-9*58="]
    prompts = [tuple(llm.tokenizer.encode(text)) for text in texts]
    params = params_of(do_sample=True, max_gen_toks=16)
    served = fan_outs([(prompt, params) for prompt in prompts for _ in range(64)])
    outputs = llm.generate([f.prompt for f in served], [f.params for f in served])
    answers = in_order(served, [[s.text for s in output.outputs] for output in outputs])
    for prompt, output in zip(prompts, outputs, strict=True):
        assert output.cost.prefill_flops == prefill_flops(llm.config, len(prompt))
        assert len({s.index for s in output.outputs}) == 64
    plain = llm.generate(texts, SamplingParams(n=64, seed=5, max_tokens=16))
    assert answers == [s.text for output in plain for s in output.outputs]
    assert len(set(answers[:64])) > 5  # streams of their own


def test_greedy_clones_are_drawn_once() -> None:
    llm = LLM()
    prompt = tuple(llm.tokenizer.encode("12+7*3="))
    served = fan_outs([(prompt, params_of(max_gen_toks=16))] * 64)
    [output] = llm.generate([f.prompt for f in served], [f.params for f in served])
    [sample] = output.outputs
    assert in_order(served, [[sample.text]]) == [sample.text] * 64
    steps = range(1, len(sample.token_ids))
    assert output.cost.decode_flops == sum(
        decode_flops(llm.config, len(prompt) + step) for step in steps
    )


def test_a_prompt_is_cut_on_the_left() -> None:
    assert cut_prompt((1, 2, 3, 4), 4, 8) == (1, 2, 3, 4)
    assert cut_prompt((1, 2, 3, 4), 5, 8) == (2, 3, 4)
    with pytest.raises(ValueError, match="below the model's context of 8 tokens, got 8"):
        cut_prompt((1, 2), 8, 8)
