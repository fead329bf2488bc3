"""Runs spread with Ray: the models of `train_runs`, by a stand-in for Ray that calls at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from t2engine.cli.main import run as run_command
from t2engine.integrations.ray_runs import (
    Account,
    reason_of,
    train_in_task,
    train_runs_on_ray,
    trainer_on_ray,
    work_of,
)
from t2engine.study.ladder import Recipe, Run, build_run, finetuned
from t2engine.study.runs import News, train_runs

TINY = Recipe(questions_per_step=4, questions_step=4)


def tiny_run(name: str, D: int = 1_000) -> Run:
    return replace(build_run(8_000, D, ("arithmetic", "spatial"), TINY), name=name)


RUNS = [tiny_run("a"), tiny_run("b", D=1_500), tiny_run("c")]


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(f"Traceback of a task:\n{cause}")
        self.cause = cause


@dataclass(eq=False)
class Reference:
    value: Any = None
    error: RayError | None = None


@dataclass
class FakeRay:
    """Ray's init, remote, wait, get and shutdown, in this process; a task ends where it is made."""

    running: bool = False
    addresses: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(RayError=RayError))
    refuses: bool = False

    def init(self, address: str, **options: Any) -> None:
        if self.refuses:
            raise ConnectionError("nobody\nlistens")
        assert not self.running
        self.running = True
        self.addresses.append(address)

    def shutdown(self) -> None:
        assert self.running
        self.running = False

    def remote(self, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        self.options = options
        return lambda function: SimpleNamespace(remote=lambda *x: self.call(function, *x))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Reference:
        assert self.running
        try:
            return Reference(function(*arguments))
        except ValueError as error:
            return Reference(error=RayTaskError(error))

    def wait(self, tasks: list[Reference], timeout: float) -> tuple[Any, Any]:
        return tasks[-1:], tasks[:-1]

    def get(self, task: Reference) -> Any:
        if task.error is not None:
            raise task.error
        return task.value


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


def weights(directory: Path, run: Run) -> dict[str, torch.Tensor]:
    return load_file(directory / run.name / "model.safetensors")


def test_the_models_are_those_of_train_runs_and_are_not_trained_again(ray: FakeRay, tmp_path: Path):
    train_runs(RUNS[:2], tmp_path / "one", jobs=1)
    train_runs_on_ray(RUNS[:2], tmp_path / "two", address="auto", cpus_per_run=2)
    assert (ray.running, ray.addresses) == (False, ["auto"])
    assert (ray.options["num_cpus"], ray.options["num_gpus"]) == (2, 0)
    for run in RUNS[:2]:
        one, two = (weights(tmp_path / x, run) for x in ("one", "two"))
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["a", "b"]
    train_runs_on_ray(RUNS[:2], tmp_path / "two", address="auto")
    assert ray.addresses == ["auto"]  # nothing to do, so nobody was asked


def test_a_run_that_fails_is_named_and_the_others_are_trained(
    ray: FakeRay, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / ".b.state").write_bytes(b"not a state")
    with pytest.raises(RuntimeError, match=r"^1 of 3 runs failed: b: ValueError: .* damaged file"):
        train_runs_on_ray(RUNS, tmp_path, address="auto")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.state", "a", "c"]
    assert "training, 2 of 3 runs" in capsys.readouterr().err
    assert not ray.running
    (tmp_path / ".b.state").unlink()
    train_runs_on_ray(RUNS, tmp_path, address="auto")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_task_that_was_lost_after_its_end_does_not_train_again(tmp_path: Path):
    assert train_in_task(tmp_path, RUNS[0], "cpu", 30.0).startswith("loss ")
    assert work_of(tmp_path, RUNS[0]) >= RUNS[0].N * RUNS[0].D
    before = weights(tmp_path, RUNS[0])
    assert train_in_task(tmp_path, RUNS[0], "cpu", 30.0) == "was finished"
    assert all(torch.equal(before[key], value) for key, value in weights(tmp_path, RUNS[0]).items())


def test_work_adds_up_where_the_driver_looks(tmp_path: Path):
    account = Account(tmp_path / ".a.work")
    assert work_of(tmp_path, RUNS[0]) == 0
    for news in (News(3), News(4), News(0, "done")):
        account.put(("a", news))
    assert (work_of(tmp_path, RUNS[0]), account.outcome) == (7, "done")


def test_models_share_a_gpu(ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def task(directory: Path, run: Run, device: str, seconds: float) -> str:
        seen.append((directory, run.name, device))
        return "trained"

    monkeypatch.setattr("t2engine.integrations.ray_runs.train_in_task", task)
    monkeypatch.chdir(tmp_path)
    trainer_on_ray("10.0.0.1:6379")(RUNS[:1], Path("out"), 4, device="cuda")
    assert ray.options["num_gpus"] == 0.25
    assert (seen, ray.addresses) == ([(tmp_path / "out", "a", "cuda")], ["10.0.0.1:6379"])


def test_a_lost_machine_has_words():
    assert reason_of(RayError("a worker\n died")) == "a worker died"


def test_what_cannot_be_done_is_one_line(
    ray: FakeRay, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    later = finetuned(RUNS[0], "ladder/a", "causal", 500)
    with pytest.raises(ValueError, match=r"base of a must be an absolute path.* got 'ladder/a'"):
        train_runs_on_ray([later], tmp_path, address="auto")
    ray.refuses = True
    command = ["study", "train", "--preset", "tiny", "--out", str(tmp_path / "out"), "--ray"]
    assert run_command([*command, "auto"]) == 2
    assert "got 'auto': nobody listens; `ray start --head`" in capsys.readouterr().err
    assert run_command([*command, "auto", "--jobs", "2"]) == 2
    assert "--jobs must be left out with --ray on CPUs" in capsys.readouterr().err


def test_without_ray_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    out = tmp_path / "out"
    assert run_command(["study", "train", "--out", str(out), "--ray", "auto"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.endswith("needs Ray (pip install 't2engine[ray]')")
    assert "\n" not in error
    assert not out.exists()
