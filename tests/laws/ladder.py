"""A simulated ladder whose truth is known, and where public measurements lie if they are there."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from t2engine.laws.gamma import Array
from t2engine.laws.observations import Observations, from_records
from t2engine.schema import Observation

SIZES = (50_000, 130_000, 350_000, 1_000_000)
TOKENS = (500_000, 1_600_000, 5_000_000, 16_000_000)
PUBLIC_DATA = Path(__file__).parents[3] / "shared" / "data"


def records(
    num_questions: int = 200, num_samples: int = 64, *, gold: bool = True, seed: int = 0
) -> list[Observation]:
    """Counts under Approach 2's own assumptions, for 4 sizes by 4 token counts."""
    rng = np.random.default_rng(seed)
    found = []
    for N in SIZES:
        for D in TOKENS:
            loss = 0.6 + 60 * N**-0.35 + 600 * D**-0.42
            mean, spread = 1 / (1 + np.exp(1.6 * (loss - 2.0))), np.exp(1.2 - 0.1 * loss)
            p = rng.beta(mean * spread, (1 - mean) * spread, size=num_questions)
            correct = rng.binomial(num_samples, p)
            nll = loss * np.exp(0.2 * rng.normal(size=num_questions) - 0.02)
            found += [
                Observation(
                    model=f"m{N}-{D}",
                    N=N,
                    D=D,
                    question=f"q{i}",
                    num_samples=num_samples,
                    num_correct=int(correct[i]),
                    gold_nll=float(nll[i]) if gold else None,
                )
                for i in range(num_questions)
            ]
    return found


def observations(**options: int | bool) -> Observations:
    return from_records(records(**options))  # type: ignore[arg-type]


def write_csv(path: Path, rows: list[Observation]) -> Path:
    names = ["model", "N", "D", "question", "num_samples", "num_correct", "gold_nll"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(
            ["" if (x := getattr(row, name)) is None else x for name in names] for row in rows
        )
    return path


def public_table(name: str) -> list[dict[str, str]]:
    """Rows of a public data set, or a skip that says where it was looked for."""
    path = PUBLIC_DATA / name
    if not path.is_file():
        pytest.skip(f"public measurements are not beside the repository: {path} is absent")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], name: str) -> Array:
    return np.array([float(row[name]) for row in rows])
