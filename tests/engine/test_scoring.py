"""Scores of given continuations, against transformers and against the engine's own samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from t2engine import LLM, SamplingParams
from t2engine.engine import scoring
from t2engine.engine.forward import OpsRuntime
from t2engine.engine.scoring import Score, score_continuations
from tests.engine.device_harness import llm_on_device
from tests.engine.harness import load_theirs, their_logits
from tests.model.tiny import TINY_MODELS, VOCAB_SIZE, write_tiny_model

TOLERANCE = 2e-4
SHARED = 300  # tokens: two whole blocks that are computed once, and some more


def some_tokens(length: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB_SIZE, (length,), generator=generator).tolist()


def requests_that_share() -> list[tuple[list[int], list[int]]]:
    """Continuations of one context, contexts that begin alike, the same again, and none alike.

    One context ends within blocks that another's continuation shares.
    """
    shared = some_tokens(SHARED, 0)
    rest = some_tokens(200, 1)
    requests = [(shared, some_tokens(length, 10 + length)) for length in (1, 2, 30)]
    requests += [(shared, [token]) for token in (5, 6, 7)]
    requests += [(shared + rest, [5]), (shared, [*rest, 5]), (shared[:4], [*shared[4:], *rest, 9])]
    requests += [(some_tokens(n, n), some_tokens(1 + n % 7, 99 + n)) for n in range(1, 60)]
    return [*requests, requests[0]]


@pytest.mark.parametrize("name", TINY_MODELS)
def test_scores_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    family, overrides = TINY_MODELS[name]
    model_dir = write_tiny_model(tmp_path, family, **overrides)
    theirs = load_theirs(model_dir)
    context = some_tokens(150, 0)
    best = int(their_logits(theirs, context)[-1].argmax())
    requests = [(context, [best]), (context, some_tokens(20, 1)), ([7], some_tokens(300, 2))]
    for (before, after), got in zip(
        requests, score_continuations(LLM(model_dir), requests), strict=True
    ):
        logits = their_logits(theirs, before + after)[len(before) - 1 : -1]
        want = logits.log_softmax(dim=-1)[range(len(after)), after]
        assert (torch.tensor(got.logprobs) - want).abs().max() <= TOLERANCE
        assert got.is_greedy == (logits.argmax(dim=-1).tolist() == after)
        assert got.total == pytest.approx(float(want.sum()), abs=TOLERANCE * len(after))


def test_company_changes_no_bit(llm: LLM) -> None:
    """Nor does order, nor how many there are at once."""
    requests = requests_that_share()
    together = score_continuations(llm, requests)
    assert together == [score_continuations(llm, [request])[0] for request in requests]
    assert together == score_continuations(llm, requests[::-1])[::-1]
    assert len({score.logprobs for score in together}) == len(requests) - 1


def test_other_ways_through_the_layers_score_alike(
    llm: LLM, tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device's engine, on the CPU's tensors, and the operations one by one."""
    requests = requests_that_share()
    want = [torch.tensor(score.logprobs) for score in score_continuations(llm, requests)]
    found = [score_continuations(llm_on_device(tiny_dir), requests)]
    monkeypatch.setattr(llm, "runtime", OpsRuntime(llm.model))
    found.append(score_continuations(llm, requests))
    for scores in found:
        for score, logprobs in zip(scores, want, strict=True):
            assert (torch.tensor(score.logprobs) - logprobs).abs().max() <= TOLERANCE


def test_a_text_scores_as_its_parts(llm: LLM) -> None:
    text = some_tokens(170, 3)
    [whole] = score_continuations(llm, [(text[:5], text[5:])])
    parts = score_continuations(llm, [(text[:a], text[a:b]) for a, b in ((5, 6), (6, 140))])
    [end] = score_continuations(llm, [(text[:140], text[140:])])
    assert whole.logprobs == parts[0].logprobs + parts[1].logprobs + end.logprobs


def test_what_is_shared_goes_through_the_layers_once(
    llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def counted(pieces):
        computed.extend(piece.stop - piece.start for piece in pieces)
        return make(pieces)

    make = scoring.make_prefill_batch
    monkeypatch.setattr(scoring, "make_prefill_batch", counted)
    context = some_tokens(SHARED, 0)
    score_continuations(llm, [(context, [token]) for token in range(10, 30)])
    assert sum(computed) == SHARED
    computed.clear()
    score_continuations(llm, [(context, [token, token]) for token in range(10, 15)])
    assert sum(computed) == 5 * (SHARED + 1) - 4 * 256


def test_samples_score_as_they_were_drawn(llm: LLM) -> None:
    prompt = some_tokens(20, 4)
    for params in (
        SamplingParams(n=3, seed=1, max_tokens=12, logprobs=0),
        SamplingParams(temperature=0.0, max_tokens=12, logprobs=0),
    ):
        [output] = llm.generate([prompt], params)
        drawn = [(prompt, list(sample.token_ids)) for sample in output.outputs]
        for sample, score in zip(output.outputs, score_continuations(llm, drawn), strict=True):
            assert score.total == pytest.approx(sample.cumulative_logprob, abs=1e-4)
            assert score.is_greedy or params.temperature


def test_the_whole_context_can_be_scored(llm: LLM) -> None:
    most = llm.config.max_context_len
    text = some_tokens(most + 1, 5)
    [score] = score_continuations(llm, [(text[:1], text[1:])])
    assert len(score.logprobs) == most
    assert score_continuations(llm, []) == []
    assert Score((), True).total == 0


@pytest.mark.parametrize(
    ("context", "continuation", "words"),
    [
        ([], [1], "request 0 must have a context"),
        ([1], [], "request 0 must have a continuation"),
        ([1], [VOCAB_SIZE], f"must be in \\[0, {VOCAB_SIZE}\\)"),
        ([1], [-1], f"must be in \\[0, {VOCAB_SIZE}\\)"),
        ([1] * 1024, [1, 1], "at most 1025 tokens"),
    ],
    ids=str,
)
def test_what_cannot_be_scored(
    llm: LLM, context: list[int], continuation: list[int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        score_continuations(llm, [(context, continuation)])
