"""How often each model of a ladder is right, one line a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table

from t2engine.laws.beta_binomial import fit_beta_binomial
from t2engine.laws.passk import estimate_pass_at_k, posterior_pass_at_k
from t2engine.schema import Observation


def summarise(
    observations: Iterable[Observation], rates: Mapping[str, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """N, D, mean gold_nll and pass@k (k = 1, 4, 16, ...) of each model, in order of appearance.

    rates: more to say of a model, by its name.
    """
    by_model: dict[str, list[Observation]] = {}
    for observation in observations:
        by_model.setdefault(observation.model, []).append(observation)
    more = rates or {}
    return [summarise_model(name, rows) | {**more.get(name, {})} for name, rows in by_model.items()]


def summarise_model(name: str, rows: list[Observation]) -> dict[str, Any]:
    samples = [row.num_samples for row in rows]
    losses = [row.gold_nll for row in rows if row.gold_nll is not None]
    ks = [4**i for i in range(32) if 4**i <= min(samples)]
    return {
        "model": name,
        "N": rows[0].N,
        "D": rows[0].D,
        "questions": len(rows),
        "samples": sum(samples),
        "gold_nll": sum(losses) / len(losses) if losses else None,
        "pass_at_k": pass_at(ks, samples, [row.num_correct for row in rows]),
    }


def pass_at(ks: list[int], samples: list[int], correct: list[int]) -> dict[int, float]:
    """Unbiased where every question has as many samples. Where counts decided how many, that
    estimator is biased, and the posterior mean under the fitted Beta is not."""
    if len(set(samples)) == 1 or not any(correct):
        return {k: estimate_pass_at_k(samples, correct, k).mean for k in ks}
    fit = fit_beta_binomial(samples, correct)
    return {k: float(posterior_pass_at_k(samples, correct, k, fit.a, fit.b).mean()) for k in ks}


def ladder_table(summaries: list[dict[str, Any]], title: str | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title)
    table.add_column("model", no_wrap=True)
    for name in ("N", "D", "gold_nll"):
        table.add_column(name, justify="right")
    for k in summaries[0]["pass_at_k"]:
        table.add_column(f"pass@{k}", justify="right")
    for row in summaries:
        loss = "-" if row["gold_nll"] is None else f"{row['gold_nll']:.3f}"
        estimates = [f"{value:.3f}" for value in row["pass_at_k"].values()]
        table.add_row(row["model"], f"{row['N']:,}", f"{row['D']:,}", loss, *estimates)
    return table


def rate_line(summaries: list[dict[str, Any]]) -> str:
    """How fast samples were drawn, over all models."""
    drawn = [row for row in summaries if row.get("drawn_tokens")]
    if not drawn:
        return "nothing was left to draw"
    tokens, seconds = (sum(row[name] for row in drawn) for name in ("drawn_tokens", "seconds"))
    engine = sum(row["share_of_engine_rate"] * row["seconds"] for row in drawn)
    return (
        f"drew {tokens:,} tokens in {seconds:,.0f} s: {tokens / seconds:,.0f} a second, "
        f"{engine / seconds:.0%} of the engine's own rate"
    )
