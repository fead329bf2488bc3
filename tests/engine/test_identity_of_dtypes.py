"""Sample i is the same bits for every n, thread count, refill order and company, in every dtype."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine import LLM, SamplingParams
from tests.model.tiny import VOCAB_SIZE

MOST = 512
PRECISIONS = [
    ("float32", "float32"),
    ("bfloat16", "bfloat16"),
    ("float16", "float32"),
    ("int8", "int8"),
]
COMMON = [3 + (7 * i) % 300 for i in range(256)]  # two blocks that prompts may share
PROMPT = [*COMMON, *range(5, 50)]


def params(n: int, **changes: object) -> SamplingParams:
    values = {"seed": 5, "max_tokens": 6, "ignore_eos": True}
    return SamplingParams(n=n, **{**values, **changes})


def load(model_dir: Path, precision: tuple[str, str], **options: object) -> LLM:
    weights, cache = precision
    return LLM(model_dir, dtype=weights, kv_cache_dtype=cache, **options)


@pytest.fixture(scope="module", params=PRECISIONS, ids="-".join)
def precision(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.fixture(scope="module")
def alone(tiny_dir: Path, precision: tuple[str, str]) -> list[tuple[int, ...]]:
    """Each of the samples as it comes when all are drawn by one thread, a few at a time."""
    llm = load(tiny_dir, precision, threads=1, max_num_seqs=7)
    output = llm.generate([PROMPT], params(MOST))[0]
    return [sample.token_ids for sample in output.outputs]


@settings(max_examples=12, deadline=None)
@given(
    n=st.integers(1, MOST),
    threads=st.sampled_from([1, 2, 4]),
    slots=st.integers(1, 300),
    shared=st.sampled_from([0, 128, 256]),
    others=st.lists(st.lists(st.integers(3, VOCAB_SIZE - 1), min_size=1, max_size=150), max_size=3),
    n_of_others=st.integers(1, 40),
    lengths=st.lists(st.integers(1, 9), min_size=3, max_size=3),
)
def test_a_sample_is_its_own(
    tiny_dir: Path,
    precision: tuple[str, str],
    alone: list[tuple[int, ...]],
    n: int,
    threads: int,
    slots: int,
    shared: int,
    others: list[list[int]],
    n_of_others: int,
    lengths: list[int],
) -> None:
    llm = load(tiny_dir, precision, threads=threads, max_num_seqs=slots)
    company = [[*COMMON[:shared], *tokens] for tokens in others]
    asked = [
        params(n_of_others, seed=i, max_tokens=length, temperature=0.3 + i)
        for i, length in enumerate(lengths[: len(company)])
    ]
    output = llm.generate([*company, PROMPT], [*asked, params(n)])[-1]
    assert [sample.token_ids for sample in output.outputs] == alone[:n]


def test_looking_at_every_token_changes_none(
    tiny_dir: Path, precision: tuple[str, str], alone: list[tuple[int, ...]]
) -> None:
    """Log-probabilities are recorded outside the native step; the draws are the same."""
    output = load(tiny_dir, precision).generate([PROMPT], params(9, logprobs=2))[0]
    assert [sample.token_ids for sample in output.outputs] == alone[:9]
