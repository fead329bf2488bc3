"""A task whose questions are in a file: held-out ones in one, and training ones in another.

The formats are those of `formats.py`; a file is JSON Lines, or one JSON list. The order of
held-out questions is shuffled by the seed. Training goes through its file again and again, shuffled
anew each time, without the questions that are held out.

Raises: ValueError naming the file, the line, what was expected and what was there; for a kind that
there is not; when there are fewer questions than are asked for, or none to train on.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2engine.laws.rows import read_objects
from t2engine.study.tasks.formats import FORMATS, Check
from t2engine.study.tasks.task import Question


@dataclass(frozen=True)
class FileTask:
    name: str
    path: Path
    questions: tuple[Question, ...]  # all different
    training: tuple[Question, ...]  # none of which is held out
    left_out: int  # questions not used: held-out ones asked before, training ones held out
    check: Check
    max_tokens: int

    def training_questions(self, seed: int) -> Iterator[Question]:
        if not self.training:
            raise ValueError(
                f"{self.name} from {self.path} has no questions to train on; name a file of them "
                "that is not the held-out one"
            )
        return endless(self.training, random.Random(f"train {seed}"))

    def held_out_questions(self, count: int, seed: int) -> list[Question]:
        if count > len(self.questions):
            raise ValueError(
                f"held-out questions must be at most {len(self.questions)}, as many as {self.path} "
                f"has, got {count}; ask for fewer"
            )
        return shuffled(self.questions, random.Random(f"held out {seed}"))[:count]

    def is_right(self, question: Question, completion: str) -> bool:
        return self.check(question, completion)


def read_file_task(
    kind: str,
    path: Path,
    train: Path | None = None,
    max_tokens: int | None = None,
    keep_first: bool = False,
) -> FileTask:
    """The task of a file of held-out questions and, where there is one, a file to train on.

    `max_tokens` is by default the bytes of the longest completion and the end: enough for any
    tokenizer. `keep_first` leaves out held-out questions that were asked before, where otherwise
    they are an error; training may repeat itself.
    """
    if kind not in FORMATS:
        raise ValueError(f"kind of questions must be one of {', '.join(FORMATS)}, got {kind!r}")
    first_lines: dict[str, int] = {}
    questions: list[Question] = []
    left_out = 0
    for line, question in read_questions(kind, path):
        first = first_lines.setdefault(question.prompt, line)
        if first == line:
            questions.append(question)
        elif keep_first:
            left_out += 1
        else:
            raise ValueError(
                f"{path}: line {line}: expected a question of its own, got that of line {first} "
                "again; remove one, or ask to keep the first"
            )
    training = [question for _, question in read_questions(kind, train)] if train else []
    kept = tuple(question for question in training if question.prompt not in first_lines)
    longest = max(len(question.completion.encode()) for question in (*questions, *kept))
    return FileTask(
        name=kind if kind != "jsonl" else path.stem,
        path=path,
        questions=tuple(questions),
        training=kept,
        left_out=left_out + len(training) - len(kept),
        check=FORMATS[kind].check,
        max_tokens=longest + 1 if max_tokens is None else max_tokens,
    )


def read_questions(kind: str, path: Path) -> Iterator[tuple[int, Question]]:
    """Line numbers and questions; a file has at least one."""
    line = 0
    for line, document in read_documents(path):
        yield line, read_question(kind, document, f"{path}: line {line}")
    if not line:
        raise ValueError(f"{path}: expected questions in the format {kind}, got an empty file")


def read_question(kind: str, document: dict[str, Any], where: str) -> Question:
    try:
        return FORMATS[kind].read(document)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def read_documents(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """JSON objects and the lines where they begin, of JSON Lines or of one list."""
    if not path.is_file():
        raise ValueError(f"{path}: expected a file of questions, found none")
    with open(path, "rb") as file:
        start = file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return read_list(path)
    return read_objects(path)


def read_list(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8 text, byte {error.start} is not") from error
    decoder = json.JSONDecoder()
    position = skip_space(text, text.index("[") + 1)
    while text[position : position + 1] != "]":
        line = text.count("\n", 0, position) + 1
        try:
            document, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: line {error.lineno}: not a JSON object: {error}") from error
        if not isinstance(document, dict):
            kind = type(document).__name__
            raise ValueError(f"{path}: line {line}: expected a JSON object, got a {kind}")
        yield line, document
        position = skip_space(text, position)
        if text[position : position + 1] not in (",", "]"):
            line = text.count("\n", 0, position) + 1
            raise ValueError(f"{path}: line {line}: expected a comma or the end of the list")
        position = skip_space(text, position + (text[position] == ","))


def skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def endless(questions: tuple[Question, ...], rng: random.Random) -> Iterator[Question]:
    while True:
        yield from shuffled(questions, rng)


def shuffled(questions: tuple[Question, ...], rng: random.Random) -> list[Question]:
    """In the order of a random number for each: the same in every version of Python."""
    return sorted(questions, key=lambda question: rng.random())
