"""Every task by its name: those of the package, and files of questions.

    arithmetic, knowledge, causal, spatial      generated
    mine.jsonl                                  {"prompt": ..., "answer": ...} a line
    sciq:test.json, lambada:test.jsonl, ...     a published format (formats.py) and its file
    sciq:test.json:train.json                   with a file to train on

Raises: ValueError for a name that no task has, or a file that cannot be read.
"""

from __future__ import annotations

from pathlib import Path

from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.causal import CAUSAL
from t2engine.study.tasks.file_task import read_file_task
from t2engine.study.tasks.formats import FORMATS
from t2engine.study.tasks.knowledge import KNOWLEDGE
from t2engine.study.tasks.spatial import SPATIAL
from t2engine.study.tasks.task import Task

GENERATED_TASKS = (ARITHMETIC, KNOWLEDGE, CAUSAL, SPATIAL)


def task_named(name: str) -> Task:
    for task in GENERATED_TASKS:
        if task.name == name:
            return task
    kind, _, paths = name.partition(":")
    if kind in FORMATS and paths:
        path, _, train = paths.partition(":")
        return read_file_task(kind, Path(path), Path(train) if train else None)
    if name.endswith(".jsonl"):
        return read_file_task("jsonl", Path(name))
    names = ", ".join(task.name for task in GENERATED_TASKS)
    raise ValueError(
        f"task must be one of {names}, a .jsonl file of questions, or format:file with a format of "
        f"{', '.join(FORMATS)}; got {name!r}"
    )
