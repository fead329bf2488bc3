"""A run of lm-evaluation-harness with a model of ours.

Raises: ValueError for a task that the harness does not know, or whose questions are out of reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager
from lm_eval.utils import make_table

from t2engine.integrations.lm_eval import T2LM


@dataclass(frozen=True)
class EvaluationOptions:
    """What the harness is asked to do; names and meanings are its own."""

    tasks: Sequence[str]
    include_path: Path | None = None
    limit: float | None = None
    num_fewshot: int | None = None
    gen_kwargs: str | None = None
    apply_chat_template: bool = False
    confirm_run_unsafe_code: bool = False
    log_samples: bool = False


def evaluate_tasks(model: T2LM, options: EvaluationOptions) -> dict[str, Any]:
    """The harness's results."""
    include = None if options.include_path is None else str(options.include_path)
    manager = TaskManager(include_path=include)
    tasks = known_tasks(manager, options.tasks)
    try:
        results: dict[str, Any] = lm_eval.simple_evaluate(
            model=model,
            tasks=tasks,
            task_manager=manager,
            limit=options.limit,
            num_fewshot=options.num_fewshot,
            gen_kwargs=options.gen_kwargs,
            apply_chat_template=options.apply_chat_template,
            confirm_run_unsafe_code=options.confirm_run_unsafe_code,
            log_samples=options.log_samples,
        )
    except (ConnectionError, FileNotFoundError) as error:
        names = ", ".join(tasks)
        raise ValueError(f"--tasks {names}: the questions cannot be fetched: {error}") from error
    return results


def known_tasks(manager: TaskManager, asked: Sequence[str]) -> list[str]:
    """Names, groups, tags and patterns, or task files."""
    found: list[str] = []
    for name in asked:
        matching = [name] if Path(name).is_file() else manager.match_tasks([name])
        if not matching:
            raise ValueError(
                f"--tasks must be tasks of lm-evaluation-harness, or yaml files, got {name!r}; "
                "`lm-eval ls tasks` lists them, --include-path adds a directory of your own"
            )
        found += matching
    return found


def result_tables(results: dict[str, Any]) -> str:
    tables = [make_table(results)]
    if results.get("groups"):
        tables.append(make_table(results, "groups"))
    return "\n".join(tables)
