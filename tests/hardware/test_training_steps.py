from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from t2engine.hardware.training_steps import TrainingBench
from t2engine.study.ladder import shape

CONFIG = shape(20_000)


def test_a_step_learns_and_takes_time():
    bench = TrainingBench(CONFIG)
    token_ids = bench.draw_tokens(4, 16)
    targets = token_ids.roll(-1, dims=1)
    before = {name: weight.detach().clone() for name, weight in bench.model.named_parameters()}
    first = bench.loss(token_ids, targets).item()
    seconds = [bench.step(4, 16) for _ in range(10)]
    assert min(seconds) > 0
    assert bench.loss(token_ids, targets).item() < first - 0.1
    for name, weight in bench.model.named_parameters():
        assert not torch.equal(weight, before[name]), name


def test_a_larger_step_takes_longer():
    bench = TrainingBench(CONFIG)
    bench.step(64, 64)
    small = min(bench.step(2, 8) for _ in range(5))
    assert min(bench.step(64, 64) for _ in range(5)) > 2 * small


def test_gradients_do_not_add_up():
    """A step from the same state is the same step."""
    one, two = TrainingBench(CONFIG, seed=3), TrainingBench(CONFIG, seed=3)
    one.step(4, 16)
    for weight in two.model.parameters():
        weight.grad = torch.ones_like(weight)
    two.step(4, 16)
    for ours, theirs in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_gradients_are_clipped():
    bench = TrainingBench(CONFIG)
    with torch.no_grad():
        bench.model.model.embed_tokens.weight *= 100
    bench.step(4, 16)
    norms = [weight.grad.norm() for weight in bench.model.parameters()]
    assert torch.stack(norms).norm().item() == pytest.approx(1.0, rel=1e-3)


def test_tokens_are_the_same_every_step_and_cover_the_vocabulary():
    bench = TrainingBench(CONFIG)
    assert torch.equal(bench.draw_tokens(8, 64), bench.draw_tokens(8, 64))
    assert set(bench.draw_tokens(64, 64).flatten().tolist()) == set(range(CONFIG.vocab_size))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_asked_for_and_restored(threads: int, monkeypatch: pytest.MonkeyPatch):
    bench = TrainingBench(CONFIG, threads=threads)
    seen = []
    monkeypatch.setattr(bench.optimizer, "step", lambda: seen.append(torch.get_num_threads()))
    torch.set_num_threads(3)
    bench.step(1, 4)
    assert seen == [threads]
    assert torch.get_num_threads() == 3


def test_threads_are_restored_when_a_step_fails(monkeypatch: pytest.MonkeyPatch):
    bench = TrainingBench(CONFIG, threads=2)

    def fail():
        raise RuntimeError("no memory")

    monkeypatch.setattr(bench.optimizer, "step", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        bench.step(1, 4)
    assert torch.get_num_threads() == 1


def test_every_product_is_made_once_forward_and_twice_backward():
    """Nothing beside the step is timed, and nothing of it left out."""
    bench = TrainingBench(CONFIG)
    token_ids = bench.draw_tokens(4, 16)
    with FlopCounterMode(display=False) as forward:
        bench.loss(token_ids, token_ids)
    with FlopCounterMode(display=False) as step:
        bench.step(4, 16)
    assert 0 < step.get_total_flops() == 3 * forward.get_total_flops()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"device": "tpu"}, 'device must be "cpu" or "cuda", got \'tpu\''),
        ({"threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, words: str):
    with pytest.raises(ValueError, match=words):
        TrainingBench(CONFIG, **arguments)


def test_an_absent_gpu_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r'got "cuda" without a GPU'):
        TrainingBench(CONFIG, device="cuda")


def test_another_family_is_refused():
    with pytest.raises(ValueError, match="must have tied_embeddings = True, got False"):
        TrainingBench(replace(CONFIG, tied_embeddings=False))


@pytest.mark.parametrize(
    ("batch_size", "sequence_len", "words"),
    [
        (0, 4, "batch_size must be at least 1, got 0"),
        (1, 0, "sequence_len must be 1 to 64, .*, got 0"),
        (1, 65, "sequence_len must be 1 to 64, .*, got 65"),
    ],
)
def test_bad_shapes_are_refused(batch_size: int, sequence_len: int, words: str):
    with pytest.raises(ValueError, match=words):
        TrainingBench(CONFIG).step(batch_size, sequence_len)
