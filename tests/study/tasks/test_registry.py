"""Every generated task by its name, and what holds of all of them."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from t2engine.study.ladder import CONTEXT_LEN
from t2engine.study.tasks import task as tasks
from t2engine.study.tasks.registry import GENERATED_TASKS, task_named
from t2engine.study.tasks.task import (
    HELD_OUT_SHARE,
    MAX_HELD_OUT,
    GeneratedTask,
    Question,
    is_held_out,
)

ROOT = Path(__file__).parents[3]
NAMES = [task.name for task in GENERATED_TASKS]
DIGEST = """
from hashlib import blake2b
from itertools import islice
from t2engine.study.tasks.registry import GENERATED_TASKS
for task in GENERATED_TASKS:
    questions = [*islice(task.training_questions(7), 200), *task.held_out_questions(50, 7)]
    text = repr([(q.prompt, q.completion, q.answer) for q in questions])
    print(task.name, blake2b(text.encode()).hexdigest())
"""


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> GeneratedTask:
    return task_named(request.param)


def test_names_find_their_tasks_and_others_list_them():
    assert [task_named(name).name for name in NAMES] == NAMES
    assert len(set(NAMES)) == len(NAMES)
    with pytest.raises(ValueError, match=r"arithmetic, knowledge, causal, spatial, .*got 'sums'"):
        task_named("sums")


def test_files_are_named_by_their_path_or_format_and_path(tmp_path: Path):
    path = tmp_path / "capitals.jsonl"
    path.write_text(
        '{"prompt": "France:", "answer": "Paris"}\n\n'
        '{"prompt": "2+2*3=", "answer": "12", "completion": "4 12"}\n'
    )
    task = task_named(str(path))
    assert task.name == "capitals"
    questions = task.held_out_questions(2, seed=1)
    assert set(questions) == {
        Question("France:", "Paris", "Paris"),
        Question("2+2*3=", "4 12", "12"),
    }
    paris = next(question for question in questions if question.answer == "Paris")
    assert task.is_right(paris, " Paris")
    assert not task.is_right(paris, "London")
    with pytest.raises(ValueError, match="no questions to train on"):
        task.training_questions(0)
    again = task_named(f"jsonl:{path}:{path}")
    assert again.held_out_questions(2, seed=1) == questions
    with pytest.raises(ValueError, match="no questions to train on"):
        again.training_questions(0)  # all are held out
    with pytest.raises(ValueError, match="expected a file of questions, found none"):
        task_named(f"sciq:{tmp_path / 'none.json'}")


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_training_never_sees_a_held_out_question(task: GeneratedTask, seed: int):
    held_out = {question.prompt for question in task.held_out_questions(300, seed)}
    assert len(held_out) == 300
    assert all(is_held_out(prompt) for prompt in held_out)
    assert not held_out & {q.prompt for q in islice(task.training_questions(seed), 5000)}


def test_two_thousand_held_out_questions_exist(task: GeneratedTask):
    held_out = task.held_out_questions(2000, 0)
    assert len({question.prompt for question in held_out}) == 2000
    assert len(held_out[0].prompt) <= 40


def test_a_share_of_all_questions_is_held_out(task: GeneratedTask):
    rng = random.Random(5)
    prompts = {task.draw(rng).prompt for _ in range(40_000)}
    share = sum(map(is_held_out, prompts)) / len(prompts)
    assert share * HELD_OUT_SHARE == pytest.approx(1, rel=0.15)


def test_questions_fit_the_models_context(task: GeneratedTask):
    for question in [*islice(task.training_questions(0), 5000), *task.held_out_questions(500, 0)]:
        assert question.prompt
        assert len(question.completion) + 1 <= task.max_tokens
        assert 1 + len(question.prompt) + task.max_tokens <= CONTEXT_LEN


def test_a_prompt_has_one_answer(task: GeneratedTask):
    answers: dict[str, str] = {}
    for question in islice(task.training_questions(0), 10_000):
        assert answers.setdefault(question.prompt, question.answer) == question.answer
        assert task.is_right(question, question.completion)
    assert len(answers) < 10_000  # some were asked again


def test_frequencies_fall(task: GeneratedTask):
    """New prompts keep coming while the frequent ones return, as arithmetic has it."""
    prompts = [question.prompt for question in islice(task.training_questions(1), 10_000)]
    counts = sorted((prompts.count(prompt) for prompt in set(prompts[:300])), reverse=True)
    assert counts[0] >= 5
    assert counts[-1] <= 2


def test_seeds_repeat_and_differ(task: GeneratedTask):
    first = list(islice(task.training_questions(3), 100))
    assert list(islice(task.training_questions(3), 100)) == first
    assert list(islice(task.training_questions(4), 100)) != first
    assert task.held_out_questions(20, 3)[:10] == task.held_out_questions(10, 3)
    assert task.held_out_questions(20, 3) != task.held_out_questions(20, 4)


def test_every_process_draws_the_same():
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={"PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "12345")
    }
    (digest,) = digests
    # What models were trained on: a change here makes records of finished runs untrue.
    assert hashlib.blake2b(digest.encode(), digest_size=8).hexdigest() == "78ade6688f25d45b"


def draw_one_of_forty(rng: random.Random) -> Question:
    number = int(rng.random() * 40)
    return Question(f"{number}?", str(number), str(number))


def test_a_small_world_is_exhausted_and_says_so(monkeypatch: pytest.MonkeyPatch):
    small = GeneratedTask("small", draw_one_of_forty, lambda question, text: True, 3)
    monkeypatch.setattr(tasks, "MAX_FRUITLESS_DRAWS", 5000)
    there_are = sum(is_held_out(f"{number}?") for number in range(40))
    assert len(small.held_out_questions(there_are, 0)) == there_are > 0
    with pytest.raises(ValueError, match=f"small must be at most {there_are}, .* got 20; ask for"):
        small.held_out_questions(20, 0)
    with pytest.raises(ValueError, match=f"at most {MAX_HELD_OUT}, got"):
        small.held_out_questions(MAX_HELD_OUT + 1, 0)
