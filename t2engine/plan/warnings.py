"""Plain sentences about what a plan rests on: how the fit went and how far it leaves the data."""

from __future__ import annotations

from t2engine.laws.law import FitReport
from t2engine.laws.pass_law import PassLaw

NAMES = {
    "N": ("N", "parameters", "model observed"),
    "D": ("D", "training tokens", "token count observed"),
    "k": ("k", "samples per question", "k the law was fitted on"),
}


def range_warnings(fit: FitReport | None, N: float, D: float, k: float) -> tuple[str, ...]:
    """One sentence for each of N, D and k outside the range of the data, with the factor."""
    if fit is None:
        return ()
    chosen = {"N": (N, fit.N_range), "D": (D, fit.D_range), "k": (k, fit.k_range)}
    return tuple(
        sentence
        for name, (value, (low, high)) in chosen.items()
        if (sentence := _outside(name, value, low, high))
    )


def fit_warnings(law: PassLaw) -> tuple[str, ...]:
    """What the fit itself says: not converged, a bound hit; of the law and its training part."""
    parts = {law.name: law.fit}
    if law.training.fit is not law.fit:
        parts[f"{law.name}, training loss"] = law.training.fit
    sentences = []
    for name, fit in parts.items():
        if fit is None:
            continue
        if not fit.converged:
            sentences.append(f"the fit of {name} did not converge: treat the plan as a guess")
        if fit.bounds_hit:
            hit = ", ".join(fit.bounds_hit)
            sentences.append(f"the fit of {name} stopped at the bound of {hit}")
    return tuple(sentences)


def _outside(name: str, value: float, low: float, high: float) -> str:
    symbol, unit, what = NAMES[name]
    slack = 1 + 1e-9
    if value > high * slack:
        factor, side, edge = value / high, "above the largest", high
    elif value < low / slack:
        factor, side, edge = low / value, "below the smallest", low
    else:
        return ""
    return (
        f"{symbol} = {value:.3g} {unit} is {factor:.3g} times {side} {what} ({edge:.3g}): "
        "the law extrapolates"
    )
