"""Laws refitted to models drawn with replacement, and the intervals of parameters they give.

A model is all checkpoints of one N: checkpoints of one training run, and runs of one shape, share
what they deviate by. The counts law is refitted as its bands are (laws/counts_bands.py). Approach 1
and 2 are refitted from few starts; draws with too few different N or D for the law are left out.

Raises: ValueError for fewer than 3 models.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from t2engine.laws.counts import CountsLaw, law_of
from t2engine.laws.counts_bands import fit_counts_bands
from t2engine.laws.curves import PassCurves
from t2engine.laws.splits import FittedLaw, Ladder, check_curves, fit_curves

NUM_RESAMPLES = {"approach1": 50, "approach2": 20, "counts": 50}
REFIT_STARTS = 4
TRIES = 30  # draws a refit may need; 3 models are all different in 2 of 9
NOT_INTERVALS = ("training", "fit", "covariance", "discrepancy")


def resampled_laws(ladder: Ladder, law: FittedLaw, *, seed: int = 0) -> tuple[FittedLaw, ...]:
    num_resamples = NUM_RESAMPLES[law.name]
    if isinstance(law, CountsLaw):
        bands = fit_counts_bands(law, ladder.evidence, num_resamples=num_resamples, seed=seed)
        return bands.laws
    sizes, model = np.unique(ladder.curves.N, return_inverse=True)
    if sizes.size < 3:
        raise ValueError(
            f"{ladder.curves.source}: a bootstrap over models needs at least 3 different N, got "
            f"{sizes.size}; add models to the observations"
        )
    rng = np.random.default_rng(seed)
    laws: list[FittedLaw] = []
    for _ in range(TRIES * num_resamples):
        chosen = rng.integers(sizes.size, size=sizes.size)
        rows = np.concatenate([np.flatnonzero(model == x) for x in chosen])
        drawn = ladder.curves.select(rows)
        if _enough(drawn, law.name):
            laws.append(fit_curves(drawn, law.name, num_starts=REFIT_STARTS, seed=seed))
        if len(laws) == num_resamples:
            break
    return tuple(laws)


def drawn_laws(law: CountsLaw, num_draws: int = 200, seed: int = 0) -> tuple[CountsLaw, ...]:
    """From the covariance that a counts law carries, where its observations are not at hand."""
    return tuple(law_of(vector) for vector in law.draws(num_draws, seed))


def parameters_of(law: FittedLaw) -> dict[str, float]:
    """Every fitted number by name, those of the training loss first."""
    found = {x: getattr(law.training, x) for x in ("E", "A", "alpha", "B", "beta")}
    if isinstance(law, CountsLaw):
        del found["E"]  # held at 0
    own = (x.name for x in fields(law) if x.name not in NOT_INTERVALS)
    return found | {name: float(getattr(law, name)) for name in own}


def intervals(laws: tuple[FittedLaw, ...], level: float = 0.9) -> dict[str, tuple[float, float]]:
    """Quantiles of every parameter over refitted laws."""
    draws = [parameters_of(law) for law in laws]
    tails = [(1 - level) / 2, (1 + level) / 2]
    found = {}
    for name in draws[0]:
        low, high = np.quantile([draw[name] for draw in draws], tails)
        found[name] = (float(low), float(high))
    return found


def _enough(curves: PassCurves, name: str) -> bool:
    try:
        check_curves(curves, name)
    except ValueError:
        return False
    return True
