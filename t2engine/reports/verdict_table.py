"""A study's verdict for a terminal, from its document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from t2engine.plan.words import count
from t2engine.reports.units import show_seconds

NAMES = {"t2": "T²", "compute-optimal": "compute-optimal"}


def verdict_table(document: Mapping[str, Any]) -> Group:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    for name in ("plan, seed", "N", "D", "k", "seconds", "pass@k", "forecast", "90 % band", "held"):
        table.add_column(name, justify="left" if name == "plan, seed" else "right")
    for row in document["outcomes"]:
        low, high = row["band"]
        table.add_row(
            f"{NAMES[row['plan']]}, {row['seed']}",
            count(row["N"]),
            count(row["D"]),
            f"{row['k']:.1f}",
            show_seconds(row["seconds"]),
            f"{row['pass_at_k']:.3f}",
            f"{row['forecast']:.3f}",
            f"{low:.3f} to {high:.3f}",
            "yes" if row["held"] else "no",
        )
    return Group(
        Text(headline(document)),
        table,
        *(Text(difference_words(row)) for row in document["differences"]),
        Text(forecast_words(document)),
        Text(seconds_words(document)),
    )


def headline(document: Mapping[str, Any]) -> str:
    whole = document["differences"][-1]
    preset = document["preset"]
    cost = f"{preset['budget']:.3g} FLOPs, training and {preset['demand_questions']:,.0f} questions"
    return f"{whole['words']}, at the same measured cost ({cost})"


def difference_words(row: Mapping[str, Any]) -> str:
    which = "mean of the seeds" if row["seed"] is None else f"seed {row['seed']}"
    return (
        f"T² less compute-optimal, {which}: {row['mean']:+.3f} of pass@k, "
        f"95 % within {row['low']:+.3f} to {row['high']:+.3f}"
    )


def forecast_words(document: Mapping[str, Any]) -> str:
    """Whether the law said what would come."""
    outcomes = document["outcomes"]
    held = sum(row["held"] for row in outcomes)
    worst = max(outcomes, key=lambda row: abs(row["error"]))
    return (
        f"forecast: {held} of {len(outcomes)} measured values lie in their 90 % bands; the largest "
        f"error is {worst['error']:+.3f} ({NAMES[worst['plan']]}, seed {worst['seed']})"
    )


def seconds_words(document: Mapping[str, Any]) -> str:
    """What equal FLOPs took on this machine."""
    mean = {
        plan: sum(x["seconds"] for x in document["outcomes"] if x["plan"] == plan)
        / sum(x["plan"] == plan for x in document["outcomes"])
        for plan in NAMES
    }
    ratio = mean["t2"] / mean["compute-optimal"]
    return (
        f"the same FLOPs took {show_seconds(mean['t2'])} with the T² plan and "
        f"{show_seconds(mean['compute-optimal'])} with the compute-optimal one, {ratio:.2f} times"
    )
