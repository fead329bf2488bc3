"""From counts to what the laws are fitted on: one curve over k for every checkpoint.

    pass_at_k[m, j] = mean_i unbiased pass@k_j of question i
    nll[m, j]       = mean_i -ln posterior pass@k_j of question i

The posterior's prior is Beta(a, b) fitted to the checkpoint's own counts, so that a question
never answered contributes a small chance and not the logarithm of zero. k runs over powers of two
up to the smallest num_samples of any row.

Shapes: [M, K] over checkpoints and k. A checkpoint without one success has nll nan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2engine.laws.beta_binomial import fit_beta_binomial
from t2engine.laws.gamma import Array
from t2engine.laws.observations import Observations
from t2engine.laws.passk import posterior_pass_at_k, unbiased_pass_at_k


@dataclass(frozen=True, eq=False)
class PassCurves:
    """pass@k of every checkpoint. `task_nll` is None unless every row has a gold_nll."""

    source: str
    models: tuple[str, ...]
    N: Array
    D: Array
    k: Array
    pass_at_k: Array
    nll: Array
    task_nll: Array | None

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Checkpoints with at least one success, [M]: only these have a finite nll."""
        return np.isfinite(self.nll[:, 0])

    def select(self, rows: NDArray[np.bool_]) -> PassCurves:
        return PassCurves(
            source=self.source,
            models=tuple(m for m, kept in zip(self.models, rows, strict=True) if kept),
            N=self.N[rows],
            D=self.D[rows],
            k=self.k,
            pass_at_k=self.pass_at_k[rows],
            nll=self.nll[rows],
            task_nll=None if self.task_nll is None else self.task_nll[rows],
        )


def pass_curves(observations: Observations) -> PassCurves:
    ks = 2 ** np.arange(int(observations.num_samples.min()).bit_length())
    order = np.argsort(observations.checkpoint, kind="stable")
    ends = np.cumsum(np.bincount(observations.checkpoint))[:-1]
    rows = np.split(order, ends)  # one array of row numbers per checkpoint
    curves = [
        _curves(observations.num_samples[at], observations.num_correct[at], ks) for at in rows
    ]
    if all(np.isnan(nll[0]) for _, nll in curves):
        raise ValueError(
            f"{observations.source}: column num_correct: expected at least one success, "
            "got 0 in every row"
        )
    task_nll = np.array([observations.gold_nll[at].mean() for at in rows])
    return PassCurves(
        source=observations.source,
        models=tuple(c.model for c in observations.checkpoints),
        N=np.array([c.N for c in observations.checkpoints], float),
        D=np.array([c.D for c in observations.checkpoints], float),
        k=ks.astype(float),
        pass_at_k=np.array([curve for curve, _ in curves]),
        nll=np.array([nll for _, nll in curves]),
        task_nll=None if np.isnan(task_nll).any() else task_nll,
    )


def _curves(
    n: NDArray[np.int64], c: NDArray[np.int64], ks: NDArray[np.int64]
) -> tuple[Array, Array]:
    (drawn, right), counts = np.unique(np.stack([n, c]), axis=1, return_counts=True)
    # Equal questions are computed once.
    unbiased = np.array([counts @ unbiased_pass_at_k(drawn, right, int(k)) for k in ks]) / n.size
    if c.sum() == 0:
        return unbiased, np.full(ks.size, np.nan)
    prior = fit_beta_binomial(n, c)
    posterior = posterior_pass_at_k(drawn[:, None], right[:, None], ks, prior.a, prior.b)
    return unbiased, counts @ -np.log(posterior) / n.size
