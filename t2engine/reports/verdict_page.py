"""A study's verdict as one page of HTML that needs nothing beside itself.

Raises: ValueError where matplotlib is not installed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from t2engine.plan.words import count
from t2engine.reports.calibration_tables import table
from t2engine.reports.figure_style import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    MARKERS,
    VERMILLION,
    drawing,
    new_figure,
    svg_of,
)
from t2engine.reports.page_style import STYLE
from t2engine.reports.units import show_seconds
from t2engine.reports.verdict_table import (
    NAMES,
    cost_words,
    difference_words,
    forecast_words,
    headline,
    seconds_words,
    verdicts,
    why_words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHADES = {"t2": BLUE, "compute-optimal": VERMILLION, "twenty": GREEN}
LADDER_K = 16  # of the picture of the ladder


def verdict_page(document: Mapping[str, Any]) -> str:
    title = f"Train-to-Test, tried: {headline(document)}"
    with drawing():
        figures = "\n".join(
            (
                figure(
                    "curves", "What a cost buys: measured on fresh questions", draw_curves, document
                ),
                figure("differences", "T² less each other plan", draw_differences, document),
                figure(
                    "ladder",
                    f"The ladder at k = {LADDER_K}: measured, and the law",
                    draw_ladder,
                    document,
                ),
                figure("forecasts", "Forecast and measured", draw_forecasts, document),
            )
        )
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
            f"<header><h1>{escape(capital(headline(document)))}</h1>",
            f"<p class=sub>{escape(what_was_done(document))}</p>",
            *(
                f"<p class=lead>{escape(capital(difference_words(x)))}.</p>"
                for x in verdicts(document).values()
            ),
            f"<p class=lead>{escape(capital(forecast_words(document)))}.</p>",
            f"<p>{escape(capital(cost_words(document)))}.</p>",
            f"<p>{escape(capital(why_words(document)))}.</p>",
            f"<p>{escape(capital(seconds_words(document)))}.</p></header>",
            f"<section><h2>The pictures</h2><div class='figures f2'>{figures}</div></section>",
            "<section><h2>The plans, trained and asked</h2>",
            outcomes_table(document),
            f"<p>{OUTCOME_NOTE}</p></section>",
            "<section><h2>What the law said of any size</h2>",
            plans_table(document),
            f"<p>{escape(saving_words(document))}</p></section>",
            "<section><details><summary>The law of each task</summary>",
            laws_table(document),
            "</details></section><section><details><summary>All "
            f"{len(document['ladder'])} models of the ladder</summary>",
            ladder_table(document),
            "</details></section></main></body></html>\n",
        )
    )


OUTCOME_NOTE = (
    "k is what the budget leaves each model after its training, at the FLOPs that its own answers "
    "took by the meter. pass@k is the mean over the tasks, from fresh questions that no model of "
    "the ladder was asked; the forecast is the law's at this N, D and k, made before the plan was "
    "trained but for the last digits of D and k; its band is where a new model of this ladder "
    "lies nine times in ten."
)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def what_was_done(document: Mapping[str, Any]) -> str:
    preset, tasks = document["preset"], document["asked_tasks"]
    return (
        f"{len(document['ladder'])} models were trained on {' and '.join(preset['tasks'])} and "
        f"asked {preset['num_questions']} questions of {' and '.join(tasks)} each; a scaling law "
        f"fitted to the counts of right answers chose N, D and k for {preset['budget']:.3g} FLOPs, "
        f"all in. Then that plan, the compute-optimal one and one of 20 tokens a parameter were "
        f"trained, with {len(preset['plan_seeds'])} seeds, and asked "
        f"{preset['fresh_questions']:,} fresh questions of each task."
    )


def figure(name: str, caption: str, draw: Any, document: Mapping[str, Any]) -> str:
    picture = new_figure(5.6, 4.0)
    draw(picture.add_subplot(), document)
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg_of(picture, name)}</figure>"


def draw_curves(axes: Axes, document: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    for row in document["curves"]:
        plan = row["plan"]
        label = None if plan in seen else NAMES[plan]
        seen.add(plan)
        axes.plot(row["flops"], row["pass_at_k"], color=SHADES[plan], label=label, lw=1.6)
        axes.plot(row["flops"][:1], row["pass_at_k"][:1], "o", color=SHADES[plan], ms=4)
    axes.axvline(document["preset"]["budget"], color=GREY, ls="--", lw=1, label="the budget")
    axes.set_xscale("log")
    axes.set_xlabel("FLOPs: training, and all questions with k = 1 (dot) and more")
    axes.set_ylabel("pass@k, mean of the tasks")
    axes.legend(loc="lower right")


def draw_differences(axes: Axes, document: Mapping[str, Any]) -> None:
    rows = document["differences"]
    for place, row in enumerate(rows):
        colour = SHADES[row["other"]]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, lw=2)
        axes.plot(row["mean"], place, "o", color=colour)
    axes.axvline(0, color=GREY, lw=1)
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels(
        [f"{NAMES[x['other']]}, {'mean' if x['seed'] is None else x['seed']}" for x in rows]
    )
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel("difference of pass@k, 95 % over questions")


def draw_ladder(axes: Axes, document: Mapping[str, Any]) -> None:
    sizes = sorted({row["N"] for row in document["ladder"]})
    for place, N in enumerate(sizes):
        rows = sorted((x for x in document["ladder"] if x["N"] == N), key=lambda x: x["D"])
        at = [min(range(len(x["k"])), key=lambda i: abs(x["k"][i] - LADDER_K)) for x in rows]
        D = [x["D"] for x in rows]
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(
            D,
            [
                math.nan if x["measured"][i] is None else x["measured"][i]
                for x, i in zip(rows, at, strict=True)
            ],
            MARKERS[place % len(MARKERS)],
            color=colour,
            ms=4.5,
            label=f"N = {count(N)}",
        )
        axes.plot(
            D, [x["predicted"][i] for x, i in zip(rows, at, strict=True)], color=colour, lw=1.2
        )
    axes.set_xscale("log")
    axes.set_xlabel("training tokens D")
    axes.set_ylabel(f"pass@{LADDER_K}: points measured, lines the law")
    axes.legend(loc="lower right", fontsize=8)


def draw_forecasts(axes: Axes, document: Mapping[str, Any]) -> None:
    ladder = [
        (p, m)
        for row in document["ladder"]
        for p, m in zip(row["predicted"], row["measured"], strict=True)
        if m is not None
    ]
    axes.plot(*np.array(ladder).T, ".", color=GREY, ms=4, label="the ladder, k = 1 to 64")
    for plan, colour in SHADES.items():
        rows = [x for x in document["outcomes"] if x["plan"] == plan]
        for place, x in enumerate(rows):
            axes.plot(x["band"], [x["pass_at_k"]] * 2, color=colour, lw=1.2, alpha=0.6)
            label = NAMES[plan] if place == 0 else None
            axes.plot(x["forecast"], x["pass_at_k"], "o", color=colour, label=label)
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("pass@k forecast, with its 90 % band")
    axes.set_ylabel("pass@k measured")
    axes.legend(loc="upper left")


def show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def outcomes_table(document: Mapping[str, Any]) -> str:
    tasks = document["asked_tasks"]
    head = ["plan", "seed", "N", "D", "D/N", "k", "seconds", "pass@k", *tasks]
    rows = []
    for x in document["outcomes"]:
        low, high = x["band"]
        rows.append(
            [
                NAMES[x["plan"]],
                str(x["seed"]),
                count(x["N"]),
                count(x["D"]),
                count(x["D"] / x["N"]),
                f"{x['k']:.1f}",
                show_seconds(x["seconds"]),
                f"{x['pass_at_k']:.3f}",
                *(f"{x['by_task'][task]:.3f}" for task in tasks),
                f"{x['forecast']:.3f}",
                f"{low:.3f} to {high:.3f}",
                "yes" if x["held"] else "no",
            ]
        )
    return table([*head, "forecast", "90 % band", "inside"], rows, numbers_from=2)


def plans_table(document: Mapping[str, Any]) -> str:
    plans = document["plans"]
    rows = []
    for label, name in (("T²", "any_size"), ("compute-optimal", "compute_optimal_any_size")):
        x = plans[name]
        rows.append([label, count(x["N"]), count(x["D"]), f"{x['k']:.1f}", f"{x['pass_at_k']:.3f}"])
    bands = plans["any_size"]["bands"]
    low_high = [f"{count(bands[x][0])} to {count(bands[x][1])}" for x in ("N", "D", "k")]
    low, high = bands["pass_at_k"]
    rows.append(["T², 90 % bands", *low_high, f"{low:.3f} to {high:.3f}"])
    return table(["plan", "N", "D", "k", "predicted pass@k"], rows)


def saving_words(document: Mapping[str, Any]) -> str:
    plans = document["plans"]
    if plans["budget_ratio"] is None:
        return (
            "The compute-optimal plan does not reach the T² plan's predicted pass@k at any budget."
        )
    return (
        f"By the law, the compute-optimal plan needs {plans['budget_ratio']:.3g} times this budget "
        f"for the same predicted pass@k: the T² plan saves {plans['saving']:.0%} of it."
    )


def laws_table(document: Mapping[str, Any]) -> str:
    laws = document["laws"]
    names = list(laws)
    first = laws[names[0]]
    rows = [
        [name, *(f"{laws[x]['training']['parameters'][name]:.4g}" for x in names)]
        for name in first["training"]["parameters"]
    ]
    rows += [
        [name, *(f"{laws[x]['parameters'][name]:.4g}" for x in names)]
        for name in first["parameters"]
    ]
    return table(["counts law", *names], rows)


def ladder_table(document: Mapping[str, Any]) -> str:
    ks = document["ladder"][0]["k"]
    head = ["model", "N", "D", "D/N", "gold loss"]
    head += [f"pass@{k:g}" for k in ks] + [f"law, {k:g}" for k in ks]
    rows = [
        [
            x["model"],
            f"{x['N']:,}",
            f"{x['D']:,}",
            f"{x['D'] / x['N']:.3g}",
            f"{x['gold_nll']:.3f}",
            *(show(value) for value in (*x["measured"], *x["predicted"])),
        ]
        for x in sorted(document["ladder"], key=lambda x: (x["N"], x["D"]))
    ]
    return table(head, rows)
