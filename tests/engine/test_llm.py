"""What LLM promises its callers: tokens as transformers has them, stops, log-probabilities."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from t2engine import LLM, SamplingParams
from t2engine.engine.native import supported_instruction_sets
from tests.engine.harness import load_theirs, their_logits
from tests.model.tiny import EOS, TINY_MODELS, write_tiny_model

PROMPT = "the number of the answer and"


@pytest.mark.parametrize("name", TINY_MODELS)
def test_greedy_tokens_equal_transformers(tmp_path: Path, name: str) -> None:
    family, overrides = TINY_MODELS[name]
    write_tiny_model(tmp_path, family, **overrides)
    llm, theirs = LLM(tmp_path), load_theirs(tmp_path)
    prompt = llm.tokenizer.encode(PROMPT)
    params = SamplingParams(temperature=0, max_tokens=64, ignore_eos=True)
    ours = llm.generate([prompt], params)[0].outputs[0].token_ids
    want = theirs.generate(
        torch.tensor([prompt]), do_sample=False, max_new_tokens=64, eos_token_id=None
    )
    assert list(ours) == want[0, len(prompt) :].tolist()


def test_logprobs_are_the_models_and_the_ones_drawn_with(tiny_dir: Path, llm: LLM) -> None:
    params = SamplingParams(n=3, seed=1, temperature=0.7, top_k=5, max_tokens=6, logprobs=2)
    output = llm.generate(PROMPT, params)[0]
    theirs = load_theirs(tiny_dir)
    for sample in output.outputs:
        tokens = [*output.prompt_token_ids, *sample.token_ids]
        logits = their_logits(theirs, tokens)[len(output.prompt_token_ids) - 1 : -1]
        assert len(sample.logprobs) == len(sample.token_ids) == 6
        for row, token, entry in zip(logits, sample.token_ids, sample.logprobs, strict=True):
            raw = row.log_softmax(0)
            best = raw.topk(5)
            drawn = entry[token]
            assert drawn.logprob == pytest.approx(float(raw[token]), abs=2e-4)
            kept = (row[best.indices] / 0.7).log_softmax(0)
            index = best.indices.tolist().index(token)
            assert drawn.sampled_logprob == pytest.approx(float(kept[index]), abs=5e-4)
            assert drawn.rank == index + 1
            assert set(best.indices[:2].tolist()) <= set(entry)
        total = sum(e[t].logprob for e, t in zip(sample.logprobs, sample.token_ids, strict=True))
        assert sample.cumulative_logprob == pytest.approx(total)


def test_penalties_equal_transformers(tiny_dir: Path, llm: LLM) -> None:
    prompt = llm.tokenizer.encode(PROMPT)
    params = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True, repetition_penalty=1.4)
    ours = llm.generate([prompt], params)[0].outputs[0].token_ids
    want = load_theirs(tiny_dir).generate(
        torch.tensor([prompt]),
        do_sample=False,
        max_new_tokens=40,
        eos_token_id=None,
        repetition_penalty=1.4,
    )
    assert list(ours) == want[0, len(prompt) :].tolist()


def test_presence_and_frequency_penalties_forbid_repeats(llm: LLM) -> None:
    plain = SamplingParams(temperature=0, max_tokens=60, ignore_eos=True)
    free = llm.generate(PROMPT, plain)[0].outputs[0].token_ids
    logits_range = 2.0  # the largest penalty allowed, on logits of standard deviation 2
    strict = SamplingParams(
        temperature=0,
        max_tokens=60,
        ignore_eos=True,
        presence_penalty=logits_range,
        frequency_penalty=logits_range,
    )
    held = llm.generate(PROMPT, strict)[0].outputs[0].token_ids
    most = max(held.count(token) for token in held)
    assert most < max(free.count(token) for token in free)


def test_the_end_token_ends_a_sample(tmp_path: Path) -> None:
    """Every token is an end token: samples have exactly one, or min_tokens and one."""
    write_tiny_model(tmp_path, "llama", eos_token_id=list(range(320)))
    llm = LLM(tmp_path)
    sample = llm.generate(PROMPT, SamplingParams(seed=0, max_tokens=9))[0].outputs[0]
    assert (len(sample.token_ids), sample.finish_reason, sample.stop_reason) == (1, "stop", None)
    assert sample.text == ""
    on = SamplingParams(seed=0, max_tokens=9, ignore_eos=True)
    sample = llm.generate(PROMPT, on)[0].outputs[0]
    assert (len(sample.token_ids), sample.finish_reason) == (9, "length")


def test_min_tokens_forbids_the_end(llm: LLM) -> None:
    banned = tuple(range(3, 200))
    params = SamplingParams(
        n=20, seed=0, max_tokens=30, min_tokens=10, stop_token_ids=banned, temperature=2.0
    )
    for sample in llm.generate(PROMPT, params)[0].outputs:
        assert len(sample.token_ids) > 10
        assert not set(sample.token_ids[:10]) & {*banned, EOS}
        if sample.finish_reason == "stop" and sample.stop_reason is not None:
            assert sample.token_ids[-1] == sample.stop_reason


def test_stop_strings_span_tokens(llm: LLM) -> None:
    params = SamplingParams(n=8, seed=5, max_tokens=40, ignore_eos=True)
    whole = llm.generate(PROMPT, params)[0].outputs
    compared = 0
    for sample in whole:
        middle = len(sample.text) // 2
        stop = sample.text[middle : middle + 3]
        if "\N{REPLACEMENT CHARACTER}" in stop or not stop:
            continue
        compared += 1
        cut = SamplingParams(n=8, seed=5, max_tokens=40, ignore_eos=True, stop=stop)
        got = llm.generate(PROMPT, cut)[0].outputs[sample.index]
        assert got.text == sample.text[: sample.text.index(stop)]
        assert got.token_ids == sample.token_ids[: len(got.token_ids)]
        assert stop in llm.tokenizer.decode(got.token_ids)
        assert (got.finish_reason, got.stop_reason) == ("stop", stop)
        kept = SamplingParams(
            n=8,
            seed=5,
            max_tokens=40,
            ignore_eos=True,
            stop=stop,
            include_stop_str_in_output=True,
        )
        got = llm.generate(PROMPT, kept)[0].outputs[sample.index]
        assert got.text == sample.text[: sample.text.index(stop) + len(stop)]
    assert compared >= 3


def test_text_is_the_decoding_of_the_tokens(llm: LLM) -> None:
    for sample in llm.generate(PROMPT, SamplingParams(n=8, seed=2, max_tokens=12))[0].outputs:
        ids = sample.token_ids[:-1] if sample.finish_reason == "stop" else sample.token_ids
        assert sample.text == llm.tokenizer.decode(ids)


def test_max_tokens_none_fills_the_context(tmp_path: Path) -> None:
    write_tiny_model(tmp_path, "llama", max_position_embeddings=32)
    params = SamplingParams(max_tokens=None, ignore_eos=True, seed=0)
    output = LLM(tmp_path).generate([[5] * 10], params)[0].outputs[0]
    assert len(output.token_ids) == 22


def test_stream_yields_each_sample_once_as_it_ends(llm: LLM) -> None:
    params = [SamplingParams(n=5, seed=3, max_tokens=m, ignore_eos=True) for m in (12, 2)]
    finished = list(llm.stream([PROMPT, "x"], params))
    assert [f.prompt_index for f in finished] == [1] * 5 + [0] * 5  # the shorter ones first
    whole = llm.generate([PROMPT, "x"], params)
    for f in finished:
        assert f.output.token_ids == whole[f.prompt_index].outputs[f.output.index].token_ids


def test_samples_are_the_same_on_every_instruction_set_with_fused_additions(
    tiny_dir: Path,
) -> None:
    params = SamplingParams(n=3, seed=3, max_tokens=12)
    want = LLM(tiny_dir, dtype="float32").generate([[5, 6, 7]], params)[0].outputs
    for isa in supported_instruction_sets():
        if isa != "portable":
            llm = LLM(tiny_dir, dtype="float32", instruction_set=isa)
            got = llm.generate([[5, 6, 7]], params)[0].outputs
            assert [s.token_ids for s in got] == [s.token_ids for s in want], isa


def test_a_plan_that_cannot_fit_is_refused_before_the_first_sample(tiny_dir: Path) -> None:
    llm = LLM(tiny_dir, memory_limit=LLM(tiny_dir).model.nbytes + 1000)
    with pytest.raises(ValueError, match="memory plan does not fit"):
        llm.stream([PROMPT])


def test_chat_is_the_template_then_generate(tmp_path: Path) -> None:
    llm = LLM(write_tiny_model(tmp_path, "qwen2"))
    messages = [{"role": "user", "content": "the number"}]
    with pytest.raises(ValueError, match="has no chat template"):
        llm.chat(messages)
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    (tmp_path / "chat_template.jinja").write_text(template)
    params = SamplingParams(n=2, seed=1, max_tokens=5)
    [answer] = llm.chat(messages, params)
    [same] = llm.generate(["[user] the number\n"], params)
    assert [s.token_ids for s in answer.outputs] == [s.token_ids for s in same.outputs]


def test_prompts_come_in_every_form(llm: LLM) -> None:
    ids = llm.tokenizer.encode(PROMPT)
    params = SamplingParams(seed=0, max_tokens=3)
    forms = [PROMPT, [PROMPT], ids, [ids]]
    answers = {llm.generate(form, params)[0].outputs[0].token_ids for form in forms}
    assert len(answers) == 1
    assert llm.generate([], params) == []


def test_a_model_without_tokenizer_takes_token_ids(tmp_path: Path) -> None:
    llm = LLM(write_tiny_model(tmp_path, "llama", tokenizer=False))
    output = llm.generate([[5, 6]], SamplingParams(seed=0, max_tokens=3))[0].outputs[0]
    assert (len(output.token_ids), output.text) == (3, "")
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        llm.generate("text")
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        llm.generate([[5]], SamplingParams(stop="x"))


@pytest.mark.parametrize(
    ("prompts", "params", "message"),
    [
        ("", {}, "prompt must not be empty"),
        (["x", ""], {}, "prompt 1 must not be empty"),
        ([[5], []], {}, "prompt 1 must have at least one token"),
        ([[5] * 1024], {}, "context of 1024 tokens, got 1024"),
        ([[5, 320]], {}, r"in \[0, 320\), got \[320\]"),
        ([[5]], {"stop_token_ids": (-1,)}, r"in \[0, 320\), got \[-1\]"),
        ([[5]], {"logprobs": 321}, "logprobs must be at most 320"),
    ],
)
def test_bad_prompts_are_refused(llm: LLM, prompts: list, params: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        llm.generate(prompts, SamplingParams(**params))


def test_one_params_for_each_prompt(llm: LLM) -> None:
    with pytest.raises(ValueError, match="one for each of 2 prompts, got 1"):
        llm.generate(["a", "b"], [SamplingParams()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, got 'tpu'"),
        ({"instruction_set": "mmx"}, "instruction_set must be one of auto, .*, got 'mmx'"),
        (
            {"dtype": "int3"},
            "dtype must be one of auto, float32, bfloat16, float16, int8, got 'int3'",
        ),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"max_num_seqs": 0}, "max_num_seqs must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(tiny_dir: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LLM(tiny_dir, **options)


def test_transformers_reads_the_fixture(tiny_dir: Path) -> None:
    """The model under test is a real checkpoint, not one that only we can read."""
    assert transformers.AutoConfig.from_pretrained(tiny_dir).num_hidden_layers == 3
