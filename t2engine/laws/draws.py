"""Laws refitted to models drawn with replacement, and the intervals of parameters they give.

A model is all checkpoints of one N: checkpoints of one training run, and runs of one shape, share
what they deviate by. The counts law is refitted as its bands are (laws/counts_bands.py). Approach 1
and 2 are refitted from few starts; draws with too few different N or D for the law are drawn again.

Raises: ValueError for fewer than 3 models.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from t2engine.laws.counts import CountsLaw, law_of
from t2engine.laws.counts_bands import CountsBands, fit_counts_bands
from t2engine.laws.curves import PassCurves
from t2engine.laws.splits import FittedLaw, Ladder, check_curves, fit_curves

NUM_RESAMPLES = {"approach1": 30, "approach2": 20, "counts": 50}
REFIT_STARTS = 4
QUICK_CHECKPOINTS = 100
REFITS = "refits to models drawn with replacement"
TRIES = 30  # draws a refit may need; 3 models are all different in 2 of 9
NOT_INTERVALS = ("training", "fit", "covariance", "discrepancy")


@dataclass(frozen=True, eq=False)
class Resamples:
    """Laws that other draws of models would have given; `bands` for a refitted counts law."""

    laws: tuple[FittedLaw, ...]
    source: str
    bands: CountsBands | None = None

    def pass_band(self, N: float, D: float, k: float, level: float) -> tuple[float, float]:
        if self.bands is not None:
            low, high = self.bands.band(N, D, k, level)
            return float(low[0, 0]), float(high[0, 0])
        drawn = [float(law.pass_at_k(N, D, k)) for law in self.laws]
        ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        return float(ends[0]), float(ends[1])


def resample(ladder: Ladder, law: FittedLaw, *, seed: int = 0) -> Resamples:
    num_resamples = NUM_RESAMPLES[law.name]
    if isinstance(law, CountsLaw):
        bands = fit_counts_bands(law, ladder.evidence, num_resamples=num_resamples, seed=seed)
        return resamples_of(bands)
    laws = _refitted(ladder.curves, law.name, num_resamples, seed)
    return Resamples(laws, f"{len(laws)} {REFITS}")


def resamples_of(bands: CountsBands) -> Resamples:
    return Resamples(bands.laws, f"{len(bands.laws)} {REFITS}", bands)


def draw_laws(law: FittedLaw, *, num_draws: int = 100, seed: int = 0) -> Resamples:
    """From the covariance that a counts law carries, where its observations are not at hand."""
    if not isinstance(law, CountsLaw) or not law.covariance:
        raise ValueError(
            f"bands of this law ({law.name}) need its observations: give --observations, or plan "
            "with a fitted counts law"
        )
    laws = tuple(law_of(vector) for vector in law.draws(num_draws, seed))
    return Resamples(laws, f"{num_draws} draws from the covariance of the fit")


def is_quick(law: FittedLaw, ladder: Ladder | None) -> bool:
    """Whether drawing laws takes about a second at most."""
    if not isinstance(law, CountsLaw):
        return False
    return bool(law.covariance) if ladder is None else ladder.curves.N.size <= QUICK_CHECKPOINTS


def _refitted(
    curves: PassCurves, name: str, num_resamples: int, seed: int
) -> tuple[FittedLaw, ...]:
    sizes, model = np.unique(curves.N, return_inverse=True)
    if sizes.size < 3:
        raise ValueError(
            f"{curves.source}: a bootstrap over models needs at least 3 different N, got "
            f"{sizes.size}; add models to the observations"
        )
    rng = np.random.default_rng(seed)
    laws: list[FittedLaw] = []
    for _ in range(TRIES * num_resamples):
        chosen = rng.integers(sizes.size, size=sizes.size)
        drawn = curves.select(np.concatenate([np.flatnonzero(model == x) for x in chosen]))
        if _enough(drawn, name):
            laws.append(fit_curves(drawn, name, num_starts=REFIT_STARTS, seed=seed))
        if len(laws) == num_resamples:
            return tuple(laws)
    raise ValueError(
        f"{curves.source}: {len(laws)} of {num_resamples} draws of models had enough different N "
        f"and D for {name}; add models to the observations"
    )


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
