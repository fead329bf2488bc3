"""Which law predicts checkpoints it has not seen: splits by rule, and one score for every law.

    largest compute   fit on the 70 % of checkpoints with the least 6 N D, score on the rest
    overtraining      fit on the 70 % of checkpoints with the least D / N, score on the rest
    score             mean over held-out checkpoints and k of |predicted - measured pass@k|,
                      k = 10^(j/4) rounded, j = 0..12: 1, 2, 3, 6, 10, 18, 32, ..., 562, 1000

Measured pass@k is a mean over questions: the unbiased estimator where a question has n >= k
samples, else its posterior under the Beta fitted to the checkpoint's own counts (a checkpoint
without one success has none: its k > n are not scored). A gold NLL gives 1 - (1 - p)^k with
p = exp(-NLL), averaged. All laws are fitted to the same checkpoints and the same k: Approach 1 to
the mean -ln pass@k of checkpoints with a success, Approach 2 to the mean pass@k, its task NLL being
the gold NLL or, without one, the mean -ln of each question's pass@1.

The 70 % are rounded up; ties in compute or D / N stay in the order given.

Shapes: [M, K] over checkpoints and k.
Raises: ValueError for a split that leaves a law too few checkpoints, by that law.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2engine.laws.approach1 import Approach1Law, check_approach1, fit_approach1
from t2engine.laws.approach2 import Approach2Law, check_approach2, fit_approach2
from t2engine.laws.counts import SAMPLES_OF_INTEREST, CountsLaw, check_evidence, fit_counts
from t2engine.laws.curves import PassCurves
from t2engine.laws.evidence import Evidence, check_outcomes, counts_evidence, gold_evidence
from t2engine.laws.gamma import Array
from t2engine.laws.law import least_share
from t2engine.laws.observed import Observations
from t2engine.laws.passk import nll_of_pass_at_k, posterior_pass_at_k, unbiased_pass_at_k

NUM_STARTS = 64
LAWS = ("approach1", "approach2", "counts")

FittedLaw = Approach1Law | Approach2Law | CountsLaw


class Predictor(Protocol):
    def pass_at_k(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array: ...


@dataclass(frozen=True, eq=False)
class Ladder:
    """One set of checkpoints in the two forms that laws are fitted to."""

    evidence: Evidence
    curves: PassCurves

    def select(self, rows: NDArray[np.bool_]) -> Ladder:
        return Ladder(self.evidence.select(rows), self.curves.select(rows))


def compute_split(N: Array, D: Array) -> NDArray[np.bool_]:
    """True for the checkpoints to fit on, leaving the largest compute out."""
    return least_share(6 * N * D)


def overtraining_split(N: Array, D: Array) -> NDArray[np.bool_]:
    return least_share(D / N)


SPLITS: dict[str, Callable[[Array, Array], NDArray[np.bool_]]] = {
    "compute": compute_split,
    "overtraining": overtraining_split,
}


def held_out_error(law: Predictor, held_out: PassCurves) -> float:
    predicted = law.pass_at_k(held_out.N[:, None], held_out.D[:, None], held_out.k)
    return float(np.nanmean(np.abs(predicted - held_out.pass_at_k)))


def counts_ladder(observations: Observations) -> Ladder:
    evidence = counts_evidence(observations)
    order = np.argsort(observations.checkpoint, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(observations.checkpoint))[:-1])
    n, c = observations.num_samples, observations.num_correct
    passes, nll = zip(
        *(_counts_curve(n[at], c[at], evidence.own[m]) for m, at in enumerate(rows)), strict=True
    )
    curves = PassCurves(
        source=observations.source,
        models=evidence.models,
        N=evidence.N,
        D=evidence.D,
        k=SAMPLES_OF_INTEREST,
        pass_at_k=np.array(passes),
        nll=np.array(nll),
        task_nll=np.array(nll)[:, 0] if evidence.gold_nll is None else evidence.gold_nll,
    )
    return Ladder(evidence, curves)


def gold_ladder(
    models: Sequence[str],
    N: ArrayLike,
    D: ArrayLike,
    gold_nll: Sequence[ArrayLike],
    source: str = "gold NLL",
) -> Ladder:
    evidence = gold_evidence(models, N, D, gold_nll, source)
    each = [nll_of_pass_at_k(np.asarray(x, float)[:, None], SAMPLES_OF_INTEREST) for x in gold_nll]
    curves = PassCurves(
        source=source,
        models=evidence.models,
        N=evidence.N,
        D=evidence.D,
        k=SAMPLES_OF_INTEREST,
        pass_at_k=np.array([np.exp(-x).mean(axis=0) for x in each]),
        nll=np.array([x.mean(axis=0) for x in each]),
        task_nll=np.array([np.asarray(x, float).mean() for x in gold_nll]),
    )
    return Ladder(evidence, curves)


def check_law(ladder: Ladder, name: str) -> None:
    """ValueError where a law cannot be fitted to a ladder."""
    if name not in LAWS:
        raise ValueError(f"law must be approach1, approach2 or counts, got {name!r}")
    if name == "counts":
        check_evidence(ladder.evidence)
    check_outcomes(ladder.evidence)
    if name != "counts":
        check_curves(ladder.curves, name)


def check_curves(curves: PassCurves, name: str) -> None:
    seen = curves.select(curves.answered)
    if name == "approach1":
        check_approach1(seen.N, seen.D, seen.k)
    else:
        check_approach2(seen.N, seen.D, seen.k, seen.task_nll)


def fit_named(
    ladder: Ladder, name: str, *, num_starts: int = NUM_STARTS, seed: int = 0
) -> FittedLaw:
    """ "approach1", "approach2" or "counts", each on all checkpoints it can use.

    The report's range of k ends at the most samples drawn: beyond it pass@k was not measured.
    """
    check_law(ladder, name)
    law: FittedLaw
    if name == "counts":
        law = fit_counts(ladder.evidence, num_starts=num_starts, seed=seed)
    else:
        law = fit_curves(ladder.curves, name, num_starts=num_starts, seed=seed)
    assert law.fit is not None
    drawn = float(ladder.evidence.samples.count.max())
    return replace(law, fit=replace(law.fit, k_range=(1.0, drawn)))


def fit_curves(
    curves: PassCurves, name: str, *, num_starts: int = NUM_STARTS, seed: int = 0
) -> Approach1Law | Approach2Law:
    seen = curves.select(curves.answered)
    if name == "approach1":
        return fit_approach1(seen.N, seen.D, seen.k, seen.nll, num_starts=num_starts, seed=seed)
    return fit_approach2(
        seen.N, seen.D, seen.k, seen.pass_at_k, seen.task_nll, num_starts=num_starts, seed=seed
    )


def _counts_curve(n: NDArray[np.int64], c: NDArray[np.int64], own: Array) -> tuple[Array, Array]:
    """Measured pass@k [K], and mean -ln posterior pass@k [K], nan without a success."""
    K = SAMPLES_OF_INTEREST
    some = bool(c.sum())
    posterior = posterior_pass_at_k(n[:, None], c[:, None], K, float(own[0]), float(own[1]))
    measured = posterior.copy() if some else np.full(posterior.shape, np.nan)
    for j, k in enumerate(K):
        enough = n >= k
        if enough.any():
            measured[enough, j] = unbiased_pass_at_k(n[enough], c[enough], int(k))
    nll = -np.log(posterior).mean(axis=0) if some else np.full(K.size, np.nan)
    return measured.mean(axis=0), nll
