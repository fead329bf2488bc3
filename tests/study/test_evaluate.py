from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest
import torch

from t2engine.engine.llm import FinishedSample
from t2engine.laws.observations import read_observations
from t2engine.schema import Observation, RequestOutput, SamplingParams
from t2engine.study.checkpoint import load_model
from t2engine.study.evaluate import (
    count_correct,
    evaluate,
    evaluate_ladder,
    find_runs,
    write_observations,
)
from t2engine.study.evaluation.checkpoints import Checkpoint
from t2engine.study.evaluation.source import Ask
from t2engine.study.ladder import Recipe, build_run
from t2engine.study.runs import train_into
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.task import Question
from t2engine.study.training import gold_losses
from tests.study.asking import COST, output

RECIPE = Recipe(questions_per_step=4, questions_step=4)
TASKS = ("arithmetic",)
RUNS = [
    replace(build_run(36_000, 200, TASKS, RECIPE), name="b"),
    replace(build_run(36_000, 400, TASKS, RECIPE), name="a"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    directory = tmp_path_factory.mktemp("ladder")
    for run in RUNS:
        train_into(directory, run, Queue())
    return directory


class Parrot:
    """Knows the answers, and gives the right one in the first j samples of prompt j."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.model = load_model(checkpoint.path)

    def draw(self, asks: Sequence[Ask], max_tokens: int, seed: int) -> Iterator[FinishedSample]:
        for j, ask in enumerate(asks):
            for i in range(ask.have, ask.want):
                yield FinishedSample(j, output(i, ask.question.completion if i < j else ""))

    def gold_losses(self, questions: Sequence[Question]) -> list[float]:
        return gold_losses(self.model, list(questions))


def test_a_right_sample_ends_by_itself_in_the_right_number():
    question = ARITHMETIC.held_out_questions(1, 0)[0]
    samples = (
        output(0, question.completion),
        output(1, question.answer),
        output(2, question.completion, "length"),
        output(3, question.completion + "1"),
        output(4, ""),
    )
    request = RequestOutput(question.prompt, (), samples, SamplingParams(), 0, COST)
    assert count_correct(question, request) == 2


def test_observations_say_what_was_asked_and_counted(trained: Path):
    questions = ARITHMETIC.held_out_questions(6, seed=5)
    rows = evaluate(trained / "a", questions, 4, 5, open_source=Parrot)
    assert [row.num_correct for row in rows] == [0, 1, 2, 3, 4, 4]
    assert {row.num_samples for row in rows} == {4}
    assert [row.question for row in rows] == [question.prompt for question in questions]
    assert {row.model for row in rows} == {"a"}
    assert rows[0].N == RUNS[1].N
    assert rows[0].D >= RUNS[1].D
    want = gold_losses(load_model(trained / "a"), questions)
    assert [row.gold_nll for row in rows] == pytest.approx(want, abs=1e-6)


def test_a_ladder_is_asked_the_same_questions_and_read_back_by_laws(trained: Path, tmp_path: Path):
    out = tmp_path / "new" / "observations.csv"
    evaluate_ladder(trained, out, 10, 4, seed=5, open_source=Parrot)
    rows = list(read_observations(out))
    assert [row.model for row in rows] == ["b"] * 10 + ["a"] * 10  # by D
    assert [row.question for row in rows[:10]] == [row.question for row in rows[10:]]
    again = tmp_path / "again.csv"
    write_observations(again, rows)
    assert again.read_bytes() == out.read_bytes()


def test_runs_are_found_by_their_record(trained: Path, tmp_path: Path):
    assert find_runs(trained) == [trained / "b", trained / "a"]
    assert find_runs(trained / "a") == [trained / "a"]
    with pytest.raises(ValueError, match=r"must be a finished run or hold some"):
        find_runs(tmp_path)


def test_a_file_is_replaced_whole_or_left_as_it_was(tmp_path: Path):
    def rows():
        yield Observation("m", 1, 2, "q", 3, 1, None)
        raise RuntimeError("half way")

    path = tmp_path / "observations.csv"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="half way"):
        write_observations(path, rows())
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    write_observations(path, [Observation("m", 1, 2, "q", 3, 1, None)])
    assert path.read_text().splitlines() == [
        "model,N,D,question,num_samples,num_correct,gold_nll",
        "m,1,2,q,3,1,",
    ]
