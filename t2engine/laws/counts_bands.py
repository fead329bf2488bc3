"""Bands of the counts law: what its parameters, and a new checkpoint's own deviation, leave open.

    parameters   refits to models drawn with replacement; a model is all checkpoints of one N
    deviation    u in log-odds: a checkpoint behaves as if its ability were eta + u

u_m is the shift that brings the law's pass@k closest to the checkpoint's own Beta over
SAMPLES_OF_INTEREST (least squares), times sqrt(M / (M - 9)) for the parameters fitted. Plans
extrapolate, so the checkpoints of largest compute and of largest D / N (30 % each) are also held
against a law refitted without them, and the larger of a checkpoint's shifts is kept. A new
checkpoint's u is drawn from the third of the ladder whose predicted ability is nearest to its own:
deviations in log-odds are larger where success is rare. What a shift leaves of a checkpoint's
pass@k, its shape, is drawn with it. Sampling noise is in both, so a band is for a measured pass@k,
not for the law's curve.

Shapes: N, D [M]; k [K]; bands [M, K].
Raises: ValueError for fewer than 3 models, or a level outside (0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2engine.laws.counts import SAMPLES_OF_INTEREST, CountsLaw, law_of, sampling_variance
from t2engine.laws.counts_likelihood import NAMES, counts_likelihood, counts_parameters
from t2engine.laws.evidence import Evidence
from t2engine.laws.fitting import minimise_batch
from t2engine.laws.gamma import Array, log_beta_ratio
from t2engine.laws.law import least_share, resample_weights

SHIFTS = np.linspace(-6.0, 6.0, 481)
NEAREST = 3  # one in so many checkpoints lends its deviation
DRAWS_PER_REFIT = 10
REFIT_TOLERANCE = 1e-5  # a spread needs no last digit


@dataclass(frozen=True, eq=False)
class CountsBands:
    laws: tuple[CountsLaw, ...]  # one a refit
    law: CountsLaw
    N: Array  # [M], of the checkpoints fitted to
    D: Array  # [M]
    deviation: Array  # [M], in log-odds
    rest: Array  # [M, K] of pass@k over SAMPLES_OF_INTEREST, after the shift
    seed: int

    @cached_property
    def ability(self) -> Array:
        """Of the checkpoints, as predicted, [M]."""
        return self.law.ability(self.N, self.D)

    def band(
        self, N: ArrayLike, D: ArrayLike, k: ArrayLike, level: float = 0.9
    ) -> tuple[Array, Array]:
        """Where a new checkpoint's measured pass@k lies with probability `level`, [M, K] twice."""
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}")
        N, D, k = (np.atleast_1d(np.asarray(x, float)) for x in (N, D, k))
        rng = np.random.default_rng(self.seed)
        count = -(-self.ability.size // NEAREST)
        gap = np.abs(self.ability - self.law.ability(N, D)[:, None])  # [new, M]
        near = np.argsort(gap, axis=1, kind="stable")[:, :count]
        low, high = np.empty((N.size, k.size)), np.empty((N.size, k.size))
        chosen = rng.integers(count, size=(len(self.laws), DRAWS_PER_REFIT))
        for m in range(N.size):
            lenders = near[m][chosen]  # [refits, draws]
            drawn = [
                x.pass_at_ability(x.ability(N[m], D[m]) + self.deviation[at][:, None], k)
                + self.rest_at(at, k)
                for x, at in zip(self.laws, lenders, strict=True)
            ]
            values = np.clip(np.concatenate(drawn), 0.0, 1.0)  # [draws, K]
            low[m], high[m] = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

    def rest_at(self, checkpoints: NDArray[np.int64], k: Array) -> Array:
        """What the shifts of these checkpoints leave of their pass@k, [draws, K]."""
        rows = self.rest[checkpoints]
        log_k, known = np.log(k), np.log(SAMPLES_OF_INTEREST)
        at = np.clip(np.searchsorted(known, log_k, side="right") - 1, 0, known.size - 2)
        part = np.clip((log_k - known[at]) / (known[at + 1] - known[at]), 0.0, 1.0)
        return np.asarray(rows[:, at] * (1 - part) + rows[:, at + 1] * part, float)


def fit_counts_bands(
    law: CountsLaw, evidence: Evidence, *, num_resamples: int = 50, seed: int = 0
) -> CountsBands:
    sizes = [f"{N:g}" for N in evidence.N]
    if len(set(sizes)) < 3:
        raise ValueError(
            f"{evidence.source}: a bootstrap over models needs at least 3 different N, got "
            f"{len(set(sizes))}; add models to the observations"
        )
    likelihood, parameters = counts_likelihood(evidence), counts_parameters(evidence)
    variance = sampling_variance(likelihood)
    weight = variance / (variance + law.discrepancy**2)
    drawn = resample_weights(sizes, num_resamples, seed)
    turn = likelihood.uncentring()
    start = np.asarray(np.linalg.solve(turn, law.vector), float)
    batch = minimise_batch(
        likelihood,
        parameters,
        np.asarray(np.tile(start, (num_resamples, 1)), float),
        weights=np.asarray(drawn * weight, float),
        slope_tolerance=REFIT_TOLERANCE,
    )
    deviation, rest = _deviations(law, evidence)
    for order in (evidence.N * evidence.D, evidence.D / evidence.N):
        left = ~least_share(order)
        refit = minimise_batch(
            likelihood,
            parameters,
            start[None],
            weights=np.asarray(np.where(left, 0.0, weight), float),
            slope_tolerance=REFIT_TOLERANCE,
        )
        unseen = _deviations(law_of(turn @ refit.values[0]), evidence.select(left))
        larger = np.abs(unseen[0]) > np.abs(deviation[left])
        at = np.flatnonzero(left)[larger]
        deviation[at], rest[at] = unseen[0][larger], unseen[1][larger]
    freedom = np.sqrt(evidence.N.size / (evidence.N.size - len(NAMES)))
    return CountsBands(
        laws=tuple(law_of(turn @ theta) for theta in batch.values),
        law=law,
        N=evidence.N,
        D=evidence.D,
        deviation=deviation * freedom,
        rest=rest * freedom,
        seed=seed,
    )


def _deviations(law: CountsLaw, evidence: Evidence) -> tuple[Array, Array]:
    k, ability = SAMPLES_OF_INTEREST, law.ability(evidence.N, evidence.D)
    own = -np.expm1(log_beta_ratio(evidence.own[:, :1], evidence.own[:, 1:], k))  # [M, K]
    shift, rest = np.empty(ability.size), np.empty(own.shape)
    for m, eta in enumerate(ability):
        tried = law.pass_at_ability(eta + SHIFTS[:, None], k)
        best = int(np.argmin(((tried - own[m]) ** 2).sum(axis=1)))
        shift[m], rest[m] = SHIFTS[best], own[m] - tried[best]
    return shift, rest
