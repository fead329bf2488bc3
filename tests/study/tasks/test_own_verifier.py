from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2engine.study.tasks.registry import task_named
from t2engine.study.tasks.task import Question
from t2engine.study.tasks.verifier import VerifiedTask, Verifier, VerifierReport

JUDGE = """
import os, signal, subprocess, sys, time

def judge(prompt, answer, completion):
    print("judging", prompt)
    os.write(1, b"not for standard output")
    if completion == "raise":
        raise KeyError("no such thing")
    if completion == "exit":
        sys.exit(3)
    if completion == "sleep":
        child = subprocess.Popen(["sleep", "60"])
        with open("child", "w") as file:
            file.write(str(child.pid))
        time.sleep(60)
    if completion == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if completion == "one":
        return 1
    if completion == "nothing":
        return None
    return completion == answer + "!" and prompt == "why?"

def process(prompt, answer, completion):
    return completion == str(os.getpid())

not_a_function = 5
"""
QUESTION = Question("why?", "because", "because")


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Verifier]:
    monkeypatch.chdir(tmp_path)
    Path("judge.py").write_text(JUDGE)
    with Verifier("judge.py:judge", seconds=1.0) as verifier:
        yield verifier


def test_the_functions_word_is_taken(judge: Verifier, capfd: pytest.CaptureFixture[str]):
    assert judge(QUESTION, "because!")
    assert not judge(QUESTION, "because")
    assert not judge(Question("how?", "so", "so"), "so!")
    report = judge.report()
    assert (report.right, report.wrong, report.failures, report.calls) == (1, 2, 0, 3)
    assert str(report) == "3 calls, 1 right, 2 wrong"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("completion", "field", "message"),
    [
        ("raise", "raised", "KeyError: 'no such thing', asked about 'why?'"),
        ("exit", "raised", "SystemExit: 3, asked about 'why?'"),
        ("sleep", "hung", "no answer within 1 s, asked about 'why?'"),
        ("die", "ended", "the process ended with code -9, asked about 'why?'"),
        ("one", "no_truth", "returned a value of type int, not bool, asked about 'why?'"),
        ("nothing", "no_truth", "returned a value of type NoneType, not bool, asked about 'why?'"),
    ],
)
def test_failures_are_wrong_counted_and_named(
    judge: Verifier, completion: str, field: str, message: str
):
    assert not judge(QUESTION, completion)
    assert judge(QUESTION, "because!")  # and the next call is answered again
    report = judge.report()
    assert (report.calls, report.right, report.wrong, report.failures) == (2, 1, 0, 1)
    assert getattr(report, field) == 1
    assert report.first_failure == message
    assert f"1 failed and counted as wrong ({report.raised} raised, " in str(report)
    assert str(report).endswith(message)


def test_the_first_failure_is_kept(judge: Verifier):
    for completion in ("raise", "die", "raise", "one"):
        assert not judge(QUESTION, completion)
    report = judge.report()
    assert (report.raised, report.ended, report.no_truth) == (2, 1, 1)
    assert report.first_failure is not None
    assert report.first_failure.startswith("KeyError")


def test_what_hung_is_ended_with_what_it_started(judge: Verifier):
    started = time.monotonic()
    assert not judge(QUESTION, "sleep")
    assert time.monotonic() - started < 20
    child = int(Path("child").read_text())
    for _ in range(50):
        if not is_running(child):
            break
        time.sleep(0.1)
    assert not is_running(child)


def is_running(process: int) -> bool:
    """A killed process may stay in the table until somebody asks for its end."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_one_process_serves_many_calls_and_none_is_left(tmp_path: Path):
    path = tmp_path / "judge.py"
    path.write_text(JUDGE)
    with Verifier(f"{path}:process") as verifier:
        process = verifier._process.pid
        assert process not in (None, os.getpid())
        assert all(verifier(QUESTION, str(process)) for _ in range(20))
    assert not verifier._process.is_alive()
    verifier.close()  # once more is nothing


def test_a_killed_process_is_replaced(judge: Verifier):
    judge._process.kill()
    judge._process.join()
    assert not judge(QUESTION, "because!")  # that call is lost, and counted
    assert judge(QUESTION, "because!")
    assert judge.report().ended == 1


def test_a_module_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "judges"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "strict.py").write_text(JUDGE)
    with Verifier("judges.strict:judge") as verifier:
        assert verifier(QUESTION, "because!")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("judge.py", "expected a colon between module or file and function"),
        (":judge", "expected a colon"),
        ("absent.py:judge", "no file absent.py"),
        ("no_such_module:judge", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("judge.py:juge", "AttributeError"),
        ("judge.py:not_a_function", "TypeError: not_a_function is of type int, not a function"),
        ("broken.py:judge", "ZeroDivisionError"),
        ("deadly.py:judge", "the process ended while loading it"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
):
    monkeypatch.chdir(tmp_path)
    Path("judge.py").write_text(JUDGE)
    Path("broken.py").write_text("1 / 0")
    Path("deadly.py").write_text("import os\nos._exit(1)")
    with pytest.raises(
        ValueError, match=r"verifier must be module:function or path\.py:"
    ) as caught:
        Verifier(source)
    assert message in str(caught.value)
    assert repr(source) in str(caught.value)


def test_time_must_be_positive():
    with pytest.raises(ValueError, match="seconds of a verifier must be above 0, got 0"):
        Verifier("judge.py:judge", seconds=0)


def test_a_task_with_another_judge(judge: Verifier):
    arithmetic = task_named("arithmetic")
    task = VerifiedTask(arithmetic, judge)
    (question,) = task.held_out_questions(1, 0)
    assert [question] == arithmetic.held_out_questions(1, 0)
    assert next(task.training_questions(2)) == next(arithmetic.training_questions(2))
    assert (task.name, task.max_tokens) == (arithmetic.name, arithmetic.max_tokens)
    assert not task.is_right(question, question.completion)  # by the judge, though it is
    assert task.is_right(QUESTION, "because!")
    assert judge.report() == VerifierReport(1, 1, 0, 0, 0, 0, None)
