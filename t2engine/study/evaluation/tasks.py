"""The tasks a user names: those of the package, or a JSON Lines file of questions.

    {"prompt": "The capital of France is", "answer": "Paris"}
    {"prompt": "12+3*2=", "answer": "30", "completion": "15 30"}

`completion` is the text that the gold loss is of; left out, the answer. A sample is right if it is
the answer, white space around it aside. The questions of a file are asked in its order, whatever
the seed.

Raises: ValueError naming the task or the file and line, what was expected and what was there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from t2engine.laws.rows import read_rows
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.task import Question, Task

FILE_TOKENS = 64  # of an answer to a file's question, at most
TASKS: tuple[Task, ...] = (ARITHMETIC,)


def find_task(name: str) -> Task:
    """By the name of a task, or of a file that ends with .jsonl."""
    if name.endswith(".jsonl"):
        return read_task(Path(name))
    for task in TASKS:
        if task.name == name:
            return task
    names = ", ".join(task.name for task in TASKS)
    raise ValueError(f"task must be one of {names}, or a .jsonl file of questions, got {name!r}")


@dataclass(frozen=True)
class FileTask:
    """Questions that somebody wrote down: all are held out."""

    name: str
    questions: tuple[Question, ...]
    max_tokens: int = FILE_TOKENS

    def training_questions(self, seed: int) -> Iterator[Question]:
        raise ValueError(
            f"task {self.name} has nothing to train on: all its questions are held out"
        )

    def held_out_questions(self, count: int, seed: int) -> list[Question]:
        return list(self.questions[:count])

    def is_right(self, question: Question, completion: str) -> bool:
        return completion.strip() == question.answer.strip()


def read_task(path: Path) -> FileTask:
    """Named after the file."""
    questions = []
    for row in read_rows(path, [("prompt", "answer")]):
        for name in ("prompt", "answer"):
            row.name(name)  # refuses one that says nothing
        prompt, answer = row.cells["prompt"], row.cells["answer"]
        questions.append(Question(prompt, row.cells.get("completion") or answer, answer))
    if not questions:
        raise ValueError(f"{path}: expected a question a line, got none")
    return FileTask(path.stem, tuple(questions))
