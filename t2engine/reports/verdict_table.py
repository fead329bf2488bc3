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

NAMES = {"t2": "T²", "compute-optimal": "compute-optimal", "twenty": "D = 20 N"}


def verdict_table(document: Mapping[str, Any]) -> Group:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("plan, seed", "N", "D", "k", "pass@k", "forecast", "90 % band", "held"):
        table.add_column(name, justify="left" if name == "plan, seed" else "right", no_wrap=True)
    for row in document["outcomes"]:
        low, high = row["band"]
        table.add_row(
            f"{NAMES[row['plan']]}, {row['seed']}",
            count(row["N"]),
            count(row["D"]),
            f"{row['k']:.1f}",
            f"{row['pass_at_k']:.3f}",
            f"{row['forecast']:.3f}",
            f"{low:.3f}–{high:.3f}",
            "yes" if row["held"] else "no",
        )
    return Group(
        Text(headline(document)),
        table,
        Text(cost_words(document)),
        *(Text(difference_words(row)) for row in document["differences"]),
        Text(why_words(document)),
        Text(forecast_words(document)),
        Text(seconds_words(document)),
    )


def verdicts(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The difference over all seeds to each other plan, by its name."""
    return {row["other"]: row for row in document["differences"]}  # the mean comes last


def headline(document: Mapping[str, Any]) -> str:
    whole = verdicts(document)
    said = {
        "compute-optimal": "than the compute-optimal plan of this ladder",
        "twenty": "than training on 20 tokens a parameter",
    }
    clauses = []
    for name, words in said.items():
        row = whole[name]
        if row["low"] > 0:
            clauses.append(f"better {words} ({row['mean']:+.3f} of pass@k)")
        elif row["high"] < 0:
            clauses.append(f"worse {words} ({row['mean']:+.3f} of pass@k)")
        else:
            clauses.append(f"no better and no worse {words}, as far as can be told")
    return f"the T² plan is {'; it is '.join(clauses)}"


def cost_words(document: Mapping[str, Any]) -> str:
    preset = document["preset"]
    return (
        f"all plans cost the same, as metered: {preset['budget']:.3g} FLOPs for training and for "
        f"k samples of {preset['demand_questions']:,.0f} questions"
    )


def difference_words(row: Mapping[str, Any]) -> str:
    which = "mean of the seeds" if row["seed"] is None else f"seed {row['seed']}"
    return (
        f"T² less {NAMES[row['other']]}, {which}: {row['mean']:+.3f} of pass@k, "
        f"95 % within {row['low']:+.3f} to {row['high']:+.3f}"
    )


def why_words(document: Mapping[str, Any]) -> str:
    """How far apart the plans are to begin with."""
    plans = document["plans"]
    ratios = {
        name: plans[name]["D"] / plans[name]["N"] for name in ("t2", "compute_optimal", "twenty")
    }
    return (
        f"tokens per parameter: {ratios['t2']:.3g} of T², {ratios['compute_optimal']:.3g} of "
        f"compute-optimal by the loss of this ladder, {ratios['twenty']:.3g} of the rule of thumb"
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
    outcomes = document["outcomes"]
    seconds = {}
    for plan, name in NAMES.items():
        own = [x["seconds"] for x in outcomes if x["plan"] == plan]
        seconds[name] = sum(own) / len(own)
    told = ", ".join(f"{show_seconds(x)} with {name}" for name, x in seconds.items())
    return f"the same FLOPs took this machine {told}"
