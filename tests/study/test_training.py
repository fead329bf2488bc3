from __future__ import annotations

import io
import math
import multiprocessing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from t2engine.metering import training_flops
from t2engine.model.llama import build_optimizer, initialise
from t2engine.study.ladder import Recipe, Run, build_run
from t2engine.study.mixture import batch, batches
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.spatial import SPATIAL
from t2engine.study.tokenizer import BOS_ID, EOS_ID, encode
from t2engine.study.training import (
    DIGEST_BYTES,
    Progress,
    completion_loss,
    gold_losses,
    read_losses,
    step,
    train,
)

TASKS = (ARITHMETIC, SPATIAL)
QUESTIONS = list(islice(ARITHMETIC.training_questions(seed=0), 7))
TINY = Recipe(questions_per_step=4, questions_step=4)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def tiny_run(D: int = 3_000, recipe: Recipe = TINY) -> Run:
    return replace(build_run(8_000, D, ("arithmetic", "spatial"), recipe), name="tiny")


def test_gold_loss_is_minus_the_log_probability_token_by_token():
    model = initialise(tiny_run().config, seed=0)
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


def test_training_learns_and_counts_its_tokens_and_flops():
    told: list[int] = []
    run = tiny_run(D=60_000, recipe=Recipe(questions_per_step=64))
    model, outcome = train(run, TASKS, told.append)
    rows = batch(QUESTIONS)
    fresh = initialise(run.config, run.recipe.seed)
    before = completion_loss(fresh, rows.token_ids, rows.targets)
    assert completion_loss(model, rows.token_ids, rows.targets) < before - 0.8
    assert outcome["losses"][-1][1] < outcome["losses"][0][1] - 0.8
    assert outcome["D"] == sum(told) == outcome["losses"][-1][0]
    tokens = flops = 0
    for drawn in batches(TASKS, run.recipe.seed, run.questions_per_step):
        if tokens >= run.D:
            break
        tokens += drawn.num_tokens
        flops += training_flops(run.config, *drawn.token_ids.shape)
    assert (outcome["D"], outcome["flops"]) == (tokens, flops)
    assert math.isfinite(outcome["seconds"])


class KilledError(Exception):
    pass


def stop_after(calls: int):
    left = [calls]

    def advance(tokens: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KilledError

    return advance


@pytest.mark.parametrize("calls", [1, 7, 40])
def test_a_killed_run_ends_in_the_very_same_model(calls: int, tmp_path: Path):
    run = tiny_run()
    want, outcome = train(run, TASKS, lambda tokens: None)
    state = tmp_path / "state"
    with pytest.raises(KilledError):
        train(run, TASKS, stop_after(calls), state=state, seconds_between_states=0)
    told: list[int] = []
    model, again = train(run, TASKS, told.append, state=state, seconds_between_states=0)
    assert told[0] > 0  # what was there before
    assert sum(told) == again["D"]
    for name in ("D", "flops", "losses"):
        assert again[name] == outcome[name]
    for name, weight in want.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name


def test_a_state_holds_the_losses_since_the_last_point_as_numbers(tmp_path: Path):
    run = tiny_run(D=60_000)  # some ten steps between points
    state = tmp_path / "state"
    with pytest.raises(KilledError):
        train(run, TASKS, stop_after(1), state=state, seconds_between_states=0)
    content = io.BytesIO(state.read_bytes()[DIGEST_BYTES:])
    pending = torch.load(content, weights_only=True)["progress"]["pending"]
    assert len(pending) > 3
    assert {type(loss) for loss in pending} == {float}


class Called(TorchDispatchMode):
    """The names of the operations that run, and the types of what products are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.products: set[torch.dtype] = set()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.overloadpacket.__name__
        self.names.add(name)
        if name in ("mm", "bmm", "addmm") or "attention" in name:
            self.products |= {x.dtype for x in arguments[:3] if isinstance(x, torch.Tensor)}
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_does_not_wait_for_its_numbers(dtype: str):
    """Nothing is read back, and no product is of a type that the recipe does not name."""
    run = tiny_run(recipe=replace(TINY, dtype=dtype))
    model = initialise(run.config, seed=0)
    optimizer = build_optimizer(model, run.recipe.betas, run.recipe.weight_decay)
    unread = []
    with Called() as called:
        for _, drawn in zip(range(3), batches(TASKS, 0, 4), strict=False):
            unread.append(step(run, model, optimizer, drawn, Progress(), completion_loss, "cpu"))
    assert "_local_scalar_dense" not in called.names
    assert called.products == {getattr(torch, dtype)}
    wanted = [loss.item() for loss in unread]
    assert read_losses(unread) == wanted
    assert read_losses(unread) == []  # each once


def test_the_path_of_a_gpu_resumes_and_ends_near_the_cpus_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """All of it but the device: a CPU by another name, not compiled, without pinned memory."""
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setattr("t2engine.study.training.moved", lambda rows, device: rows)
    run, state = tiny_run(), tmp_path / "state"
    near, plain = train(run, TASKS, lambda tokens: None)
    want, outcome = train(run, TASKS, lambda tokens: None, device="cpu:0")
    with pytest.raises(KilledError):
        train(run, TASKS, stop_after(3), state=state, device="cpu:0", seconds_between_states=0)
    model, again = train(run, TASKS, lambda tokens: None, state=state, device="cpu:0")
    assert again["losses"] == outcome["losses"]
    for name, weight in want.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
        assert torch.allclose(near.state_dict()[name], weight, atol=1e-3), name
    assert outcome["D"] == plain["D"]
    assert outcome["flops"] > plain["flops"]  # rows are padded to the whole context
    assert multiprocessing.active_children() == []


def test_a_state_of_another_run_is_refused(tmp_path: Path):
    state = tmp_path / "state"
    train(tiny_run(), TASKS, lambda tokens: None, state=state, seconds_between_states=0)
    other = tiny_run(recipe=replace(TINY, seed=1))
    with pytest.raises(ValueError, match="state of another run, which differs in recipe"):
        train(other, TASKS, lambda tokens: None, state=state)
    state.write_bytes(b"half a file")
    with pytest.raises(ValueError, match="must be the state of a run"):
        train(tiny_run(), TASKS, lambda tokens: None, state=state)


def test_finetuning_starts_from_the_weights_it_is_given():
    run = tiny_run(D=100)
    base = initialise(run.config, seed=5)
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    slow = replace(run, recipe=replace(TINY, peak_learning_rate=1e-9), base="base")
    model, _ = train(slow, TASKS, lambda tokens: None, base=base)
    for name, weight in model.state_dict().items():
        assert torch.allclose(weight, before[name], atol=1e-6), name
