from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from t2engine.metering import parameter_count
from t2engine.model.llama import initialise
from t2engine.study.ladder import (
    OVERTRAINED,
    SIZES,
    TOKENS,
    Recipe,
    Run,
    build_ladder,
    build_run,
    learning_rate,
    short,
)
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tokenizer import BOS_ID, EOS_ID, PAD_ID, encode
from t2engine.study.training import (
    NO_LOSS,
    RECORD,
    batch,
    completion_loss,
    gold_losses,
    read_record,
    train,
    train_ladder,
)

QUESTIONS = list(islice(ARITHMETIC.training_questions(seed=0), 7))
TINY = Recipe(questions_per_step=4)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def tiny_run(name: str = "tiny", D: int = 1_000, recipe: Recipe = TINY) -> Run:
    return replace(build_run(45_000, D, recipe), name=name)


def test_ladder_has_every_size_with_every_token_count():
    runs = build_ladder()
    assert len({run.name for run in runs}) == len(runs) == len(SIZES) * len(TOKENS) + 1
    assert {run.D for run in runs} == {*TOKENS, OVERTRAINED[1]}
    assert [run.N * run.D for run in runs] == sorted((r.N * r.D for r in runs), reverse=True)
    assert [run.N for run in runs] == [parameter_count(run.config) for run in runs]
    assert min(run.D / run.N for run in runs) < 20
    assert max(run.D / run.N for run in runs) > 100


def test_learning_rate_warms_up_and_falls_to_zero():
    recipe = Recipe()
    N = recipe.reference_N
    assert learning_rate(recipe, N, recipe.warmup_share) == recipe.peak_learning_rate
    assert learning_rate(recipe, N, recipe.warmup_share / 2) == recipe.peak_learning_rate / 2
    assert learning_rate(recipe, N, 1.0) == learning_rate(recipe, N, 1.01) == 0
    half_way = (1 + recipe.warmup_share) / 2
    assert learning_rate(recipe, N, half_way) == pytest.approx(recipe.peak_learning_rate / 2)
    quarter = learning_rate(recipe, 4 * N, 0.5)
    assert quarter == pytest.approx(learning_rate(recipe, N, 0.5) / 2)


def test_batch_targets_are_the_next_tokens_of_completions():
    token_ids, targets = batch(QUESTIONS)
    for row, row_targets, question in zip(token_ids, targets, QUESTIONS, strict=True):
        tokens = [BOS_ID, *encode(question.prompt + question.completion), EOS_ID]
        answer = [*encode(question.completion), EOS_ID]
        start = len(question.prompt)  # the token before the completion predicts its first
        padding = len(row) - len(tokens)
        assert row.tolist() == tokens + [PAD_ID] * padding
        kept = [NO_LOSS] * start + answer
        assert row_targets.tolist() == kept + [NO_LOSS] * (len(row) - len(kept))


def test_gold_loss_is_minus_the_log_probability_token_by_token():
    model = initialise(build_run(45_000, 1, TINY).config, seed=0)
    losses = gold_losses(model, QUESTIONS)
    for question, loss in zip(QUESTIONS, losses, strict=True):
        tokens = [BOS_ID, *encode(question.prompt)]
        want = 0.0
        for token in [*encode(question.completion), EOS_ID]:
            with torch.no_grad():
                logits = model(torch.tensor([tokens]))[0, -1].double()
            want -= torch.log_softmax(logits, dim=-1)[token].item()
            tokens.append(token)
        assert loss == pytest.approx(want, abs=1e-4)


def test_training_learns_and_counts_its_tokens():
    told: list[int] = []
    run = tiny_run(D=40_000, recipe=Recipe(questions_per_step=16))
    model, outcome = train(run, told.append)
    token_ids, targets = batch(QUESTIONS)
    before = completion_loss(initialise(run.config, run.recipe.seed), token_ids, targets)
    assert completion_loss(model, token_ids, targets) < before - 0.8
    assert outcome["losses"][-1][1] < outcome["losses"][0][1] - 0.8
    assert outcome["D"] == sum(told) == outcome["losses"][-1][0]
    stream, wanted = ARITHMETIC.training_questions(run.recipe.seed), 0
    while wanted < run.D:
        wanted += sum(len(q.prompt + q.completion) + 2 for q in islice(stream, 16))
    assert outcome["D"] == wanted


def test_ladder_is_the_same_with_any_number_of_jobs_and_is_not_repeated(tmp_path: Path):
    runs = [tiny_run("a"), tiny_run("b", D=1_500)]
    train_ladder(runs, tmp_path / "one", jobs=1)
    train_ladder(runs, tmp_path / "two", jobs=2)
    for name in ("a", "b"):
        one = load_file(tmp_path / "one" / name / "model.safetensors")
        two = load_file(tmp_path / "two" / name / "model.safetensors")
        assert all(torch.equal(one[key], two[key]) for key in one)
    written = (tmp_path / "one" / "a" / RECORD).stat().st_mtime_ns
    train_ladder(runs, tmp_path / "one", jobs=1)
    assert (tmp_path / "one" / "a" / RECORD).stat().st_mtime_ns == written
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["a", "b"]
    record = json.loads((tmp_path / "one" / "a" / RECORD).read_text())
    assert record["N"] == runs[0].N
    assert record["D"] >= runs[0].D
    assert math.isfinite(record["seconds"])

    with pytest.raises(ValueError, match=r"a holds another run, which differs in recipe"):
        train_ladder([tiny_run("a", recipe=Recipe(seed=1))], tmp_path / "one", jobs=1)
    (tmp_path / "one" / "c").mkdir()
    with pytest.raises(ValueError, match=r"without training\.json"):
        train_ladder([tiny_run("c")], tmp_path / "one", jobs=1)


@pytest.mark.parametrize(
    ("count", "words"), [(43_872, "43.9k"), (500_000, "500k"), (4_000_000, "4M"), (1.5e6, "1.5M")]
)
def test_short(count: int, words: str):
    assert short(count) == words


@pytest.mark.parametrize(
    ("text", "words"), [("{", "must be a JSON object"), ("[]", "D, N, run"), ('{"N": 1}', "D, run")]
)
def test_a_damaged_record_is_refused(text: str, words: str, tmp_path: Path):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(ValueError, match=words):
        read_record(tmp_path)
