"""Train one model of the ladder from scratch, or go on with a trained one, on a mixture of tasks.

The loss is the mean cross-entropy over the completions of a batch. D counts every token processed,
prompts and special tokens included and padding not.

The state of a run is kept on disk while it trains: weights, moments, and how many batches have been
drawn, which says where the stream of questions goes on. A run that was killed continues from there
and ends in the very same model; what is lost is the work since the last state.

On a GPU the step is compiled, rows are padded to the whole context, products may be bfloat16, and
questions are drawn ahead by processes of their own. The host queues steps without waiting for them:
losses stay on the device until a point of the curve, or a state, needs them.

Shapes: token_ids, targets [S, T]; S questions, T tokens of the longest.
"""

from __future__ import annotations

import io
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from t2engine.metering import training_flops
from t2engine.model.llama import Llama, build_optimizer, initialise
from t2engine.study.ladder import Run, learning_rate
from t2engine.study.mixture import NO_LOSS, Batch, batch, batches, prefetched
from t2engine.study.tasks.task import Question, Task

DIGEST_BYTES = 16  # of a state, before it
LOSS_POINTS = 64  # of the recorded loss curve
SECONDS_BETWEEN_STATES = 30.0
QUESTIONS_AT_A_TIME = 512  # whose gold losses are computed together

Advance = Callable[[int], None]


@dataclass
class Progress:
    """How far a run has come; `losses` holds tokens so far and the mean loss since the last."""

    steps: int = 0
    tokens: int = 0
    flops: int = 0  # as executed, padding included
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)
    pending: list[float] = field(default_factory=list)


def train(
    run: Run,
    tasks: Sequence[Task],
    advance: Advance,
    *,
    state: Path | None = None,
    base: Llama | None = None,
    device: str = "cpu",
    seconds_between_states: float = SECONDS_BETWEEN_STATES,
) -> tuple[Llama, dict[str, Any]]:
    """The trained model, and what happened.

    advance: told of tokens as they are processed. state: the file to go on from and to keep; no
    file, no resumption. base: the weights to start from.
    """
    model = initialise(run.config, run.recipe.seed) if base is None else base.train()
    model = model.to(device)
    optimizer = build_optimizer(model, run.recipe.betas, run.recipe.weight_decay)
    progress = Progress()
    if state is not None and state.exists():
        progress = read_state(state, run, model, optimizer)
        advance(progress.tokens)
    on_cpu = device == "cpu"
    loss_of = completion_loss if on_cpu else torch.compile(completion_loss)
    feed, length = (batches, None) if on_cpu else (prefetched, run.config.max_context_len)
    arguments = (tasks, run.recipe.seed, run.questions_per_step)
    told = progress.tokens
    saved = started = time.perf_counter()
    unread: list[Tensor] = []  # losses on the device
    with closing(feed(*arguments, skip=progress.steps, length=length)) as stream:
        while progress.tokens < run.D:
            unread.append(step(run, model, optimizer, next(stream), progress, loss_of, device))
            if progress.tokens >= run.D * (len(progress.losses) + 1) / LOSS_POINTS:
                progress.pending += read_losses(unread)
                mean = sum(progress.pending) / len(progress.pending)
                progress.losses.append((progress.tokens, mean))
                progress.pending = []
                advance(progress.tokens - told)
                told = progress.tokens
            if state is not None and time.perf_counter() - saved >= seconds_between_states:
                progress.pending += read_losses(unread)
                progress.seconds += time.perf_counter() - started
                write_state(state, run, model, optimizer, progress)
                saved = started = time.perf_counter()
    progress.seconds += time.perf_counter() - started
    outcome = {
        "N": run.N,
        "D": progress.tokens,
        "flops": progress.flops,
        "seconds": progress.seconds,
        "device": device,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "losses": progress.losses,
    }
    return model.cpu().eval(), outcome


def step(
    run: Run,
    model: Llama,
    optimizer: torch.optim.Optimizer,
    drawn: Batch,
    progress: Progress,
    loss_of: Callable[[Llama, Tensor, Tensor], Tensor],
    device: str,
) -> Tensor:
    """One optimiser step, counted in `progress`; returns its loss, on the device."""
    recipe = run.recipe
    progress.steps += 1
    progress.tokens += drawn.num_tokens
    progress.flops += training_flops(run.config, *drawn.token_ids.shape)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, run.N, progress.tokens / run.D)
    token_ids, targets = moved(drawn.token_ids, device), moved(drawn.targets, device)
    reduced = recipe.dtype != "float32"
    with torch.autocast(device, getattr(torch, recipe.dtype), enabled=reduced):
        loss = loss_of(model, token_ids, targets)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
    optimizer.step()
    return loss.detach()


def moved(rows: Tensor, device: str) -> Tensor:
    """The rows on a device; from pinned memory, so that the host need not wait for the copy."""
    return rows if device == "cpu" else rows.pin_memory().to(device, non_blocking=True)


def read_losses(unread: list[Tensor]) -> list[float]:
    """The losses as numbers, waiting for the device once; none is left unread."""
    losses: list[float] = torch.stack(unread).tolist() if unread else []
    unread.clear()
    return losses


def write_state(
    path: Path, run: Run, model: Llama, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Replace the state file whole, on the disk before the old one goes."""
    content = {
        "run": plain(run),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
    }
    memory = io.BytesIO()
    torch.save(content, memory)
    saved = memory.getvalue()
    partial = partial_of(path)
    with open(partial, "wb") as file:
        file.write(digest_of(saved) + saved)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def partial_of(state: Path) -> Path:
    """What a state is written to; a kill may leave it."""
    return state.with_suffix(".partial")


def digest_of(content: bytes) -> bytes:
    return blake2b(content, digest_size=DIGEST_BYTES).digest()


def read_state(path: Path, run: Run, model: Llama, optimizer: torch.optim.Optimizer) -> Progress:
    """Raises: ValueError when the file is of another run, or damaged."""
    whole = path.read_bytes()
    digest, saved = whole[:DIGEST_BYTES], whole[DIGEST_BYTES:]
    if digest_of(saved) != digest:
        raise ValueError(f"{path} must be the state of a run, got a damaged file; remove it")
    content = torch.load(io.BytesIO(saved), weights_only=True)
    different = differences(run, content["run"])
    if different:
        raise ValueError(
            f"{path} is the state of another run, which differs in {', '.join(different)}; "
            "choose another directory or remove it"
        )
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    return Progress(**content["progress"])


def plain(run: Run) -> dict[str, Any]:
    """A run as JSON gives it back: tuples as lists."""
    return dict(json.loads(json.dumps(asdict(run))))


def differences(run: Run, found: dict[str, Any]) -> list[str]:
    """Names of what a recorded run has otherwise."""
    wanted = plain(run)
    return sorted(key for key in wanted if found.get(key) != wanted[key])


def completion_loss(model: Llama, token_ids: Tensor, targets: Tensor) -> Tensor:
    logits = model(token_ids)  # [S, T, vocab_size]
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=NO_LOSS
    )


def gold_losses(model: Llama, questions: Sequence[Question]) -> list[float]:
    """Natural-log loss of each question's completion and end token, summed over its tokens."""
    found: list[float] = []
    for first in range(0, len(questions), QUESTIONS_AT_A_TIME):
        rows = batch(questions[first : first + QUESTIONS_AT_A_TIME])
        with torch.no_grad():
            losses = functional.cross_entropy(
                model(rows.token_ids).transpose(1, 2),
                rows.targets,
                ignore_index=NO_LOSS,
                reduction="none",
            )  # [S, T], zero where ignored
        found += losses.sum(dim=1).tolist()
    return found
