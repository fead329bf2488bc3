"""Train one model of the ladder, or all of them, each from scratch on questions drawn as it goes.

A batch is one question a row, padded on the right to the longest. The loss is the mean
cross-entropy over the completions and their end tokens: nothing about a prompt can be learnt. D
counts every token processed, prompts and special tokens included and padding not. The learning rate
falls to zero at D, so a short run is not a long one cut off.

A run is a directory, written whole or not at all: the model in Hugging Face's layout, and
`training.json`, which says what was trained and how. A finished run is known by that file and not
repeated.

Shapes: token_ids, targets [S, T]; S questions, T tokens of the longest.
Raises: ValueError when the directory of a run holds something else.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from queue import Queue
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor
from torch.nn import functional

from t2engine.model.llama import Llama, build_optimizer, initialise
from t2engine.study.checkpoint import atomic_directory, save_model, write_json
from t2engine.study.ladder import Run, learning_rate
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.task import Question
from t2engine.study.tokenizer import BOS_ID, EOS_ID, PAD_ID, encode

RECORD = "training.json"
NO_LOSS = -100  # the target of a token that carries no loss
LOSS_POINTS = 64  # of the recorded loss curve


def train_ladder(runs: list[Run], directory: Path, jobs: int) -> None:
    """Train every run that is not finished yet, `jobs` at a time, each in a process of one thread.

    One thread, so that neither the number of cores nor of jobs changes a model.
    """
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} must be a directory or absent, got a file")
    todo = [run for run in runs if not is_finished(run, directory / run.name)]
    context = multiprocessing.get_context("spawn")
    with show_progress() as progress, context.Manager() as manager:
        work = manager.Queue()
        bar = progress.add_task(f"0/{len(todo)} runs", total=sum(run.N * run.D for run in todo))
        pool = ProcessPoolExecutor(jobs, mp_context=context)
        try:
            waiting = {pool.submit(train_into, directory, run, work): run for run in todo}
            while waiting:
                finished = wait(waiting, timeout=1, return_when=FIRST_COMPLETED).done
                for future in finished:
                    progress.console.print(waiting.pop(future).name, future.result())
                while not work.empty():
                    progress.advance(bar, work.get())
                progress.update(bar, description=f"{len(todo) - len(waiting)}/{len(todo)} runs")
        finally:
            pool.shutdown(cancel_futures=True)


def train_into(directory: Path, run: Run, work: Queue[int]) -> str:
    """Train one run in this process and write its directory; the outcome in words."""
    torch.set_num_threads(1)
    model, outcome = train(run, lambda tokens: work.put(run.N * tokens))
    with atomic_directory(directory / run.name) as partial:
        save_model(partial, model)
        write_json(partial / RECORD, {"run": asdict(run)} | outcome)
    return f"loss {outcome['losses'][-1][1]:.4f} after {outcome['seconds']:.0f} s"


def show_progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    stderr = Console(stderr=True)
    return Progress(*columns, *times, speed_estimate_period=300, console=stderr)


def is_finished(run: Run, directory: Path) -> bool:
    """Whether `directory` holds this very run; False when there is no such directory."""
    if not directory.exists():
        return False
    record = directory / RECORD
    if not record.is_file():
        raise ValueError(f"{directory} must be absent or a finished run, got one without {RECORD}")
    found = read_record(directory)["run"]
    wanted = json.loads(json.dumps(asdict(run)))  # tuples as lists
    different = sorted(key for key in wanted if found.get(key) != wanted[key])
    if different:
        raise ValueError(
            f"{directory} holds another run, which differs in {', '.join(different)}; "
            "choose another directory or remove it"
        )
    return True


def read_record(directory: Path) -> dict[str, Any]:
    """What `training.json` says: the run asked for, and N, D and seconds as they came out."""
    path = directory / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a JSON object: {error}") from error
    missing = {"run", "N", "D"} - set(record) if isinstance(record, dict) else {"run", "N", "D"}
    if missing:
        raise ValueError(f"{path} must say {', '.join(sorted(missing))}, got none")
    return dict(record)


def train(run: Run, advance: Callable[[int], None]) -> tuple[Llama, dict[str, Any]]:
    """The trained model, and what happened; `advance` is told of tokens as they are processed."""
    model = initialise(run.config, run.recipe.seed)
    optimizer = build_optimizer(model, run.recipe.betas, run.recipe.weight_decay)
    questions = ARITHMETIC.training_questions(run.recipe.seed)
    losses: list[tuple[int, float]] = []  # tokens so far, mean loss since the entry before
    pending: list[float] = []
    started, tokens, told = time.perf_counter(), 0, 0
    while tokens < run.D:
        token_ids, targets = batch(list(islice(questions, run.recipe.questions_per_step)))
        count = int((token_ids != PAD_ID).sum())
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(run.recipe, run.N, (tokens + count) / run.D)
        loss = completion_loss(model, token_ids, targets)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), run.recipe.gradient_clip)
        optimizer.step()
        tokens += count
        pending.append(loss.item())
        if tokens >= run.D * (len(losses) + 1) / LOSS_POINTS:
            losses.append((tokens, sum(pending) / len(pending)))
            pending = []
            advance(tokens - told)
            told = tokens
    outcome = {
        "N": run.N,
        "D": tokens,
        "seconds": time.perf_counter() - started,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "losses": losses,
    }
    return model.eval(), outcome


def batch(questions: list[Question]) -> tuple[Tensor, Tensor]:
    """Token ids, and for each the next one where that belongs to a completion: both [S, T]."""
    rows = [[BOS_ID, *encode(q.prompt + q.completion), EOS_ID] for q in questions]
    longest = max(len(row) for row in rows)
    token_ids = torch.tensor([row + [PAD_ID] * (longest - len(row)) for row in rows])
    targets = torch.full_like(token_ids, NO_LOSS)
    for index, (question, row) in enumerate(zip(questions, rows, strict=True)):
        first = 1 + len(question.prompt)  # of the completion
        targets[index, first - 1 : len(row) - 1] = token_ids[index, first : len(row)]
    return token_ids, targets


def completion_loss(model: Llama, token_ids: Tensor, targets: Tensor) -> Tensor:
    logits = model(token_ids)  # [S, T, vocab_size]
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NO_LOSS)


def gold_losses(model: Llama, questions: list[Question]) -> list[float]:
    """Natural-log loss of each question's completion and end token, summed over its tokens."""
    token_ids, targets = batch(questions)
    with torch.no_grad():
        losses = functional.cross_entropy(
            model(token_ids).transpose(1, 2), targets, ignore_index=NO_LOSS, reduction="none"
        )  # [S, T], zero where ignored
    return losses.sum(dim=1).tolist()
