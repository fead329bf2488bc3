"""Every generated task by its name.

Raises: ValueError for a name that no task has.
"""

from __future__ import annotations

from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.causal import CAUSAL
from t2engine.study.tasks.knowledge import KNOWLEDGE
from t2engine.study.tasks.spatial import SPATIAL
from t2engine.study.tasks.task import GeneratedTask

GENERATED_TASKS = (ARITHMETIC, KNOWLEDGE, CAUSAL, SPATIAL)


def task_named(name: str) -> GeneratedTask:
    for task in GENERATED_TASKS:
        if task.name == name:
            return task
    names = ", ".join(task.name for task in GENERATED_TASKS)
    raise ValueError(f"task must be one of {names}, got {name!r}")
