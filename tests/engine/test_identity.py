"""Sample i depends on weights, prompt, parameters without n, seed and i, and on no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine import LLM, RequestOutput, SamplingParams
from t2engine.engine import batch, memory

PROMPT = "the number of the answer and"
OTHERS = ["a question", [7, 8, 9, 10, 11], "x" * 90]


def draw(llm: LLM, prompts: list, n: int, **changes: object) -> list[RequestOutput]:
    values = {"seed": 11, "max_tokens": 24, "ignore_eos": True, "top_p": 0.95, "logprobs": 0}
    return llm.generate(prompts, SamplingParams(n=n, **{**values, **changes}))


def bits(output: RequestOutput, n: int) -> list[tuple]:
    """Token ids and the exact log-probabilities of the first n samples."""
    return [
        (s.token_ids, [(x.logprob, x.sampled_logprob) for e in s.logprobs for x in e.values()])
        for s in output.outputs[:n]
    ]


@pytest.fixture(scope="module")
def alone(llm: LLM) -> list[tuple]:
    return bits(draw(llm, [PROMPT], 64)[0], 64)


def test_samples_differ(alone: list[tuple]) -> None:
    assert len({tokens for tokens, _ in alone}) == 64


@pytest.mark.parametrize("n", [1, 8, 64])
@pytest.mark.parametrize("threads", [1, 2])
def test_same_samples_for_any_n_and_threads(
    tiny_dir: Path, alone: list[tuple], n: int, threads: int
) -> None:
    llm = LLM(tiny_dir, threads=threads)
    assert bits(draw(llm, [PROMPT], n)[0], n) == alone[:n]


@pytest.mark.parametrize("n", [1, 8, 64])
def test_same_samples_among_other_prompts(llm: LLM, alone: list[tuple], n: int) -> None:
    outputs = draw(llm, [OTHERS[0], OTHERS[1], PROMPT, OTHERS[2]], n)
    assert bits(outputs[2], n) == alone[:n]


@pytest.mark.parametrize("slots", [1, 3, 7])
def test_same_samples_with_refill(tiny_dir: Path, alone: list[tuple], slots: int) -> None:
    """Fewer slots than samples: rows are refilled, and their neighbours change as they go."""
    llm = LLM(tiny_dir, max_num_seqs=slots)
    outputs = draw(llm, [PROMPT, *OTHERS], 8)
    assert bits(outputs[0], 8) == alone[:8]


def test_same_samples_when_logits_come_in_blocks(
    llm: LLM, alone: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large vocabulary's logits exist for some rows at a time; here, for three."""
    monkeypatch.setattr(memory, "LOGITS_PER_BLOCK", 3 * llm.config.vocab_size)
    outputs = draw(llm, [PROMPT, *OTHERS], 8)
    assert bits(outputs[0], 8) == alone[:8]


def test_same_samples_when_prompts_come_in_pieces(
    llm: LLM, alone: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "CHUNK_TOKENS", 5)
    outputs = draw(llm, [OTHERS[2], PROMPT], 8)
    assert bits(outputs[1], 8) == alone[:8]


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 20),
    slots=st.integers(1, 24),
    others=st.lists(st.lists(st.integers(3, 319), min_size=1, max_size=40), max_size=3),
    limits=st.lists(st.integers(1, 24), min_size=4, max_size=4),
)
def test_same_samples_in_any_company(
    tiny_dir: Path,
    alone: list[tuple],
    n: int,
    slots: int,
    others: list[list[int]],
    limits: list[int],
) -> None:
    llm = LLM(tiny_dir, max_num_seqs=slots)
    base = SamplingParams(
        n=n, seed=11, max_tokens=24, ignore_eos=True, top_p=0.95, temperature=1.0, logprobs=0
    )
    company = [
        SamplingParams(n=2, seed=i, max_tokens=limit, temperature=0.5 + i)
        for i, limit in enumerate(limits[: len(others)])
    ]
    outputs = llm.generate([*others, PROMPT], [*company, base])
    assert bits(outputs[-1], n) == alone[:n]


def test_extend_adds_samples_and_changes_none(llm: LLM, alone: list[tuple]) -> None:
    first = draw(llm, [PROMPT], 24)[0]
    more = llm.extend(first, 64)
    assert bits(more, 64) == alone
    assert [sample.index for sample in more.outputs] == list(range(64))
    assert more.outputs[:24] == first.outputs
    with pytest.raises(ValueError, match="n must be more than the 24 samples there are, got 24"):
        llm.extend(first, 24)


def test_neighbouring_seeds_share_nothing(llm: LLM) -> None:
    first, second = (draw(llm, [PROMPT], 32, seed=seed)[0].outputs for seed in (0, 1))
    assert not {s.token_ids for s in first} & {s.token_ids for s in second}


def test_a_missing_seed_is_drawn_and_reported(llm: LLM) -> None:
    first, second = draw(llm, [PROMPT, PROMPT], 4, seed=None)
    assert first.seed != second.seed
    assert [s.token_ids for s in first.outputs] != [s.token_ids for s in second.outputs]
    replayed = draw(llm, [PROMPT], 4, seed=first.seed)[0]
    assert bits(replayed, 4) == bits(first, 4)
