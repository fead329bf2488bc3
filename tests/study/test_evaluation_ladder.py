"""Evaluations that are cut off, refused, or meet broken checkpoints; dice stand for models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from t2engine.engine.llm import LLM
from t2engine.laws.observations import read_observations
from t2engine.schema import Observation
from t2engine.study.evaluation import ask
from t2engine.study.evaluation.ask import Inquiry, Memory, ask_all
from t2engine.study.evaluation.checkpoints import Checkpoint
from t2engine.study.evaluation.journal import JournalError
from t2engine.study.evaluation.ladder import Evaluation, evaluate_checkpoints, journal_path
from t2engine.study.evaluation.rule import StoppingRule
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.task import Question
from tests.study.asking import Dice, is_right

ROOT = Path(__file__).parents[2]
RULE = StoppingRule(2, 16, 2)
QUESTIONS = ARITHMETIC.held_out_questions(12, 3)
INQUIRY = Inquiry(ARITHMETIC, QUESTIONS, RULE, seed=3)


def checkpoint(directory: Path, name: str) -> Checkpoint:
    """A directory that looks like a model, which dice never open."""
    path = directory / name
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"name": name}))
    (path / "model.safetensors").write_bytes(name.encode())
    return Checkpoint(name, path, D=200, N=100)


def evaluate(
    directory: Path, names: tuple[str, ...] = ("a", "b/c"), inquiry: Inquiry = INQUIRY
) -> tuple[Evaluation, list[Dice]]:
    dice: list[Dice] = []

    def open_source(_: Checkpoint) -> Dice:
        dice.append(Dice())
        return dice[-1]

    checkpoints = [checkpoint(directory, name.replace("/", "-")) for name in names]
    named = [replace(c, name=name) for c, name in zip(checkpoints, names, strict=True)]
    outs = {"arithmetic": directory / "out.csv"}
    return evaluate_checkpoints(named, [inquiry], outs, open_source, progress=False), dice


def test_counts_are_those_of_the_rule_and_of_one_go(tmp_path: Path):
    result, [dice, _] = evaluate(tmp_path)
    rows = [row for row in result.observations["arithmetic"] if row.model == "a"]
    assert [row.question for row in rows] == [question.prompt for question in QUESTIONS]
    for row, question in zip(rows, QUESTIONS, strict=True):
        n = 0
        right: list[bool] = []
        while (wanted := RULE.next_samples(n, sum(right))) is not None:
            right, n = [is_right(question, 3, i) for i in range(wanted)], wanted
        assert (row.num_samples, row.num_correct) == (n, sum(right))
        indices = [i for prompt, i in dice.drawn if prompt == question.prompt]
        assert sorted(indices) == list(range(n)), "each sample once"
    assert len({row.num_samples for row in rows}) > 2
    assert list(read_observations(tmp_path / "out.csv")) == result.observations["arithmetic"]
    assert result.paces["arithmetic"]["a"].samples == sum(row.num_samples for row in rows)


def test_a_second_run_draws_nothing_and_writes_the_same(tmp_path: Path):
    evaluate(tmp_path)
    before = (tmp_path / "out.csv").read_bytes()
    (tmp_path / "out.csv").unlink()
    result, dice = evaluate(tmp_path)
    assert dice == []
    assert result.paces["arithmetic"]["a"].share_of_engine_rate is None
    assert (tmp_path / "out.csv").read_bytes() == before


def test_more_questions_go_on_from_fewer(tmp_path: Path):
    evaluate(tmp_path, ("a",), replace(INQUIRY, questions=QUESTIONS[:5]))
    _, [dice] = evaluate(tmp_path, ("a",))
    assert {prompt for prompt, _ in dice.drawn} == {question.prompt for question in QUESTIONS[5:]}


def test_a_run_cut_off_anywhere_ends_in_the_same_file(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(ask, "WRITE_SECONDS", -1.0)  # every sample is a chance to write
    evaluate(tmp_path, ("a",))
    whole = (tmp_path / "out.csv").read_bytes()
    journal = journal_path(tmp_path / "out.csv", "a")
    content = journal.read_bytes()
    assert content.count(b"\n") > len(QUESTIONS) + 5, "rounds are written as they end"
    for length in range(0, len(content) + 1, 97):
        (tmp_path / "out.csv").unlink()
        journal.write_bytes(content[:length])
        evaluate(tmp_path, ("a",))
        assert (tmp_path / "out.csv").read_bytes() == whole


@pytest.mark.parametrize("at", [5])
def test_killed_outright_it_goes_on(tmp_path: Path, at: int):
    """SIGKILL at a sample of the second checkpoint."""
    code = (
        "import os, signal\nfrom pathlib import Path\n"
        "from tests.study import asking, test_evaluation_ladder as t\n"
        "t.ask.WRITE_SECONDS = 0.0\n"
        "dice = iter([asking.Dice(), asking.Dice([], lambda count: count == "
        f"{at} and os.kill(os.getpid(), signal.SIGKILL))])\n"
        f"t.Dice = lambda: next(dice)\nt.evaluate(Path({str(tmp_path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out.csv").exists()
    _, dice = evaluate(tmp_path)
    assert len(dice) == 1, "the first checkpoint was complete"
    other = tmp_path / "undisturbed"
    other.mkdir()
    evaluate(other)
    assert (tmp_path / "out.csv").read_bytes() == (other / "out.csv").read_bytes()


def test_broken_checkpoints_are_named_and_the_others_done(tmp_path: Path):
    def open_source(which: Checkpoint) -> Dice:
        if which.name == "b":
            raise ValueError("b: a tensor is missing")
        return Dice()

    checkpoints = [checkpoint(tmp_path, name) for name in "abcd"]
    (tmp_path / "c" / "model.safetensors").unlink()
    gone = Checkpoint("e", tmp_path / "e", D=1)
    uncounted = replace(checkpoints[3], N=None)  # whose config.json says nothing
    result = evaluate_checkpoints(
        [gone, *checkpoints[:3], uncounted],
        [INQUIRY],
        {"arithmetic": tmp_path / "out.csv"},
        open_source,
        progress=False,
    )
    assert [broken.name for broken in result.failures] == ["e", "b", "c", "d"]
    reasons = [broken.reason for broken in result.failures]
    for reason, words in zip(
        reasons, ["found none", "tensor is missing", "found not both", "config.json"], strict=True
    ):
        assert words in reason
    assert {row.model for row in read_observations(tmp_path / "out.csv")} == {"a"}


@pytest.mark.parametrize(
    ("inquiry", "words"),
    [
        (replace(INQUIRY, seed=4), "another seed: 3, asked for now: 4"),
        (replace(INQUIRY, rule=StoppingRule(2, 32, 2)), "another samples"),
        (replace(INQUIRY, questions=QUESTIONS[1:]), "another question 1"),
    ],
)
def test_other_settings_end_it_all_and_change_nothing(tmp_path: Path, inquiry: Inquiry, words: str):
    evaluate(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(JournalError, match=words):
        evaluate(tmp_path, inquiry=inquiry)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_other_weights_are_refused(tmp_path: Path):
    evaluate(tmp_path)
    os.utime(tmp_path / "a" / "model.safetensors")
    evaluate(tmp_path)
    original = checkpoint(tmp_path, "a")
    (original.path / "model.safetensors").write_bytes(b"A")
    with pytest.raises(JournalError, match="another weights"):
        evaluate_checkpoints(
            [original], [INQUIRY], {"arithmetic": tmp_path / "out.csv"}, Dice, progress=False
        )


def test_a_full_disk_at_the_end_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch):
    def full(path: Path, observations: list[Observation]) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("t2engine.study.evaluation.ladder.write_observations", full)
        with pytest.raises(JournalError, match=r"out.csv cannot be written: No space left"):
            evaluate(tmp_path)
    assert evaluate(tmp_path)[1] == []


def test_questions_must_be_different():
    twice = [Question("1+1=", "2", "2"), Question("1+1=", "3", "3")]
    with pytest.raises(ValueError, match="number 1 again as 2"):
        ask_all(replace(INQUIRY, questions=twice), Dice, Memory())


def test_a_loss_that_is_no_number_is_the_weights_fault():
    class Broken(Dice):
        def gold_losses(self, questions):
            return [float("nan") for _ in questions]

    with pytest.raises(ValueError, match="not those of a trained model"):
        ask_all(INQUIRY, Broken, Memory())


def test_calls_are_bounded_and_all_is_asked(monkeypatch):
    monkeypatch.setattr(ask, "SAMPLES_PER_CALL", 7)
    entries, pace = ask_all(INQUIRY, Dice, Memory())
    monkeypatch.undo()
    assert entries == ask_all(INQUIRY, Dice, Memory())[0]
    assert pace.samples == sum(entry.num_samples for entry in entries)


def test_advance_is_called_once_a_question():
    calls: list[None] = []
    ledger = Memory()
    ask_all(INQUIRY, Dice, ledger, lambda: calls.append(None))
    assert len(calls) == len(QUESTIONS)
    ask_all(INQUIRY, LLM, ledger, lambda: calls.append(None))  # opens nothing
    assert len(calls) == 2 * len(QUESTIONS)


def test_names_of_models_are_different(tmp_path: Path):
    with pytest.raises(ValueError, match="'a' is there twice"):
        evaluate(tmp_path, ("a", "a"))
