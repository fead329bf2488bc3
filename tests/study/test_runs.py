"""Runs in processes of their own: the same models however often they are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from t2engine.study.ladder import Recipe, Run, build_run
from t2engine.study.runs import (
    RECORD,
    LostRunError,
    finetuned_runs,
    read_record,
    train_into,
    train_runs,
)

TINY = Recipe(questions_per_step=4, questions_step=4)
ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from pathlib import Path
from tests.study.test_runs import LADDER
from t2engine.study.runs import train_runs
if __name__ == "__main__":
    train_runs(LADDER, Path(sys.argv[1]), jobs=2, seconds_between_states=0)
"""


def tiny_run(name: str = "tiny", D: int = 1_000, recipe: Recipe = TINY) -> Run:
    return replace(build_run(8_000, D, ("arithmetic", "spatial"), recipe), name=name)


LADDER = [tiny_run("a", 12_000), tiny_run("b", 9_000), tiny_run("c", 2_000)]


def same_models(one: Path, other: Path, runs: list[Run]) -> bool:
    for run in runs:
        first, second = (load_file(x / run.name / "model.safetensors") for x in (one, other))
        if not all(torch.equal(first[key], second[key]) for key in first):
            return False
    return True


def test_a_ladder_is_the_same_with_any_number_of_jobs_and_is_not_repeated(tmp_path: Path):
    runs = [tiny_run("a"), tiny_run("b", D=1_500)]
    train_runs(runs, tmp_path / "one", jobs=1)
    train_runs(runs, tmp_path / "two", jobs=2)
    assert same_models(tmp_path / "one", tmp_path / "two", runs)
    written = (tmp_path / "one" / "a" / RECORD).stat().st_mtime_ns
    train_runs(runs, tmp_path / "one", jobs=1)
    assert (tmp_path / "one" / "a" / RECORD).stat().st_mtime_ns == written
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["a", "b"]
    record = json.loads((tmp_path / "one" / "a" / RECORD).read_text())
    assert record["N"] == runs[0].N
    assert record["D"] >= runs[0].D
    assert record["flops"] > 6 * record["N"] * record["D"] / 2

    with pytest.raises(ValueError, match=r"a holds another run, which differs in recipe"):
        train_runs([tiny_run("a", recipe=Recipe(seed=1))], tmp_path / "one", jobs=1)
    (tmp_path / "one" / "c").mkdir()
    with pytest.raises(ValueError, match=r"without training\.json"):
        train_runs([tiny_run("c")], tmp_path / "one", jobs=1)


def test_killed_at_random_moments_the_models_are_those_of_an_undisturbed_run(tmp_path: Path):
    for run in LADDER:
        train_into(tmp_path / "whole", run, get_context("spawn").Queue())
    rng = random.Random(11)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")]
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        states = tmp_path / "killed"
        while process.poll() is None and time.monotonic() < deadline:
            if list(states.glob(".*.state")):  # something has begun
                break
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 1.0))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        time.sleep(0.5)  # its children notice
    assert kills >= 1
    train_runs(LADDER, tmp_path / "killed", jobs=2, seconds_between_states=0)
    assert same_models(tmp_path / "whole", tmp_path / "killed", LADDER)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["a", "b", "c"]


def test_a_process_that_dies_is_named_and_its_work_is_kept(tmp_path: Path):
    (tmp_path / ".tiny.state").write_bytes(b"not a state")
    with pytest.raises(LostRunError, match="trained tiny ended with exit code 1 before its model"):
        train_runs([tiny_run()], tmp_path, jobs=1)


def test_a_state_that_a_kill_cut_off_does_not_stay(tmp_path: Path):
    (tmp_path / ".tiny.partial").write_bytes(b"half a state")
    train_into(tmp_path, tiny_run(), get_context("spawn").Queue())
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_finetuned_models_keep_the_tokens_they_were_trained_for(tmp_path: Path):
    queue = get_context("spawn").Queue()
    train_into(tmp_path / "ladder", tiny_run("a"), queue)
    before = read_record(tmp_path / "ladder" / "a")
    [later] = finetuned_runs(tmp_path / "ladder", "causal", 500)
    train_into(tmp_path / "later", later, queue)
    after = read_record(tmp_path / "later" / "a")
    assert after["D"] == before["D"]
    assert 500 <= after["finetuning_tokens"] < 700
    assert after["flops"] > before["flops"]
    assert after["run"]["tasks"] == ["causal"]
    assert not same_models(tmp_path / "ladder", tmp_path / "later", [tiny_run("a")])
    with pytest.raises(ValueError, match="must be a finished run or hold some"):
        finetuned_runs(tmp_path / "nothing", "causal", 500)
    with pytest.raises(ValueError, match="task must be one of"):
        finetuned_runs(tmp_path / "ladder", "sums", 500)


def test_a_directory_must_be_one(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a directory or absent, got a file"):
        train_runs([tiny_run()], tmp_path / "file", jobs=1)


@pytest.mark.parametrize(
    ("text", "words"), [("{", "must be a JSON object"), ("[]", "D, N, run"), ('{"N": 1}', "D, run")]
)
def test_a_damaged_record_is_refused(text: str, words: str, tmp_path: Path):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(ValueError, match=words):
        read_record(tmp_path)
