"""What a ladder says about how success is spread over questions, compressed for a likelihood.

    ln P(counts of checkpoint m | a, b) = sum_i ln B(a + c_i, b + n_i - c_i) - ln B(a, b)
        = sum_c w_c [ln G(a + c) - ln G(a)] + sum_f w_f [ln G(b + f) - ln G(b)]
          - sum_n w_n [ln G(a + b + n) - ln G(a + b)]

so a checkpoint is three short tables: how many questions have c successes, f failures, n samples.
Equal counts are one row, zero counts none, and millions of samples cost no more than ten. A
likelihood of counts does not ask why sampling stopped, so adaptive num_samples enter as they are.

A gold NLL gives p_i = exp(-NLL). Its evidence is the expected counts of VIRTUAL_SAMPLES samples,
sum_i Binomial(c; n, p_i): what a sampler would have shown, and unlike the density of Beta at p_i
not ruled by questions with p_i far below any k of interest.

Shapes: [M] checkpoints, [T] rows of a table, [Q] questions of one checkpoint.
Raises: ValueError for gold NLLs that are not finite and >= 0, one list for each model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2engine.laws.beta_binomial import fit_beta_binomial
from t2engine.laws.gamma import Array, log_gamma_ratio
from t2engine.laws.observed import Observations

VIRTUAL_SAMPLES = 1024
EXACT_COUNTS = 8  # counts above it are shared between neighbours of a grid 20 % apart
NLL_GRID = np.linspace(0.0, 16.0, 321)  # exp(-16) is never seen in 1024 samples
HALF_A_SUCCESS = 0.5  # stands for none where a checkpoint's own Beta is needed


@dataclass(frozen=True, eq=False)
class Table:
    """Weighted counts [T], ordered by checkpoint; a checkpoint may have no row."""

    checkpoint: NDArray[np.int64]
    count: Array
    weight: Array
    num_checkpoints: int

    def sums(self, values: Array) -> Array:
        """Weighted sums of values [..., T] by checkpoint, [..., M]."""
        total = np.zeros((*values.shape[:-1], self.num_checkpoints))
        if self.count.size:
            present, starts = np.unique(self.checkpoint, return_index=True)
            total[..., present] = np.add.reduceat(values * self.weight, starts, axis=-1)
        return total

    def select(self, rows: NDArray[np.bool_]) -> Table:
        kept = rows[self.checkpoint]
        place = np.cumsum(rows) - 1
        return Table(
            place[self.checkpoint[kept]], self.count[kept], self.weight[kept], int(rows.sum())
        )


@dataclass(frozen=True, eq=False)
class Evidence:
    """`own` is each checkpoint's best Beta (a, b), `peak` its log-likelihood: a law's upper limit.

    `gold_nll`, the mean over questions, is None where counts have none beside them.
    """

    source: str
    models: tuple[str, ...]
    N: Array
    D: Array
    num_questions: Array
    successes: Table
    failures: Table
    samples: Table
    own: Array  # [M, 2]
    peak: Array
    gold_nll: Array | None

    def select(self, rows: NDArray[np.bool_]) -> Evidence:
        return Evidence(
            source=self.source,
            models=tuple(m for m, kept in zip(self.models, rows, strict=True) if kept),
            N=self.N[rows],
            D=self.D[rows],
            num_questions=self.num_questions[rows],
            successes=self.successes.select(rows),
            failures=self.failures.select(rows),
            samples=self.samples.select(rows),
            own=self.own[rows],
            peak=self.peak[rows],
            gold_nll=None if self.gold_nll is None else self.gold_nll[rows],
        )


def counts_evidence(observations: Observations) -> Evidence:
    M = len(observations.checkpoints)
    rows = np.split(
        np.argsort(observations.checkpoint, kind="stable"),
        np.cumsum(np.bincount(observations.checkpoint, minlength=M))[:-1],
    )
    n, c = observations.num_samples.astype(float), observations.num_correct.astype(float)
    counts = [(n[at], c[at], np.ones(at.size)) for at in rows]
    nll = np.array([observations.gold_nll[at].mean() for at in rows])
    return _evidence(
        observations.source,
        [x.model for x in observations.checkpoints],
        [x.N for x in observations.checkpoints],
        [x.D for x in observations.checkpoints],
        counts,
        None if np.isnan(nll).any() else nll,
    )


def gold_evidence(
    models: Sequence[str],
    N: ArrayLike,
    D: ArrayLike,
    gold_nll: Sequence[ArrayLike],
    source: str = "gold NLL",
    num_virtual: int = VIRTUAL_SAMPLES,
) -> Evidence:
    """Evidence of p = exp(-NLL) alone: right for short closed answers, not for reasoning."""
    spread = _expected_counts(num_virtual)
    nodes = _count_grid(num_virtual)
    counts = []
    for model, values in zip(models, gold_nll, strict=True):
        nll = np.asarray(values, float).ravel()
        if nll.size == 0 or not np.all(np.isfinite(nll) & (nll >= 0)):
            raise ValueError(
                f"{source}: gold_nll of {model} must be finite and >= 0 for every question; "
                "drop the questions that were not measured"
            )
        weight = _shared(nll, NLL_GRID).sum(axis=0) @ spread
        kept = weight > 1e-9
        counts.append((np.full(kept.sum(), float(num_virtual)), nodes[kept], weight[kept]))
    return _evidence(source, models, N, D, counts, None)


def check_outcomes(evidence: Evidence) -> None:
    """A law needs questions answered sometimes, and more than once: one sample shows no spread."""
    for table, missing, all_of_them in (
        (evidence.successes, "success", "wrong"),
        (evidence.failures, "failure", "right"),
    ):
        if not table.count.size:
            raise ValueError(
                f"{evidence.source}: a law needs at least one {missing}, every sample is "
                f"{all_of_them}; use questions that some checkpoint answers sometimes"
            )
    if evidence.samples.count.max() < 2:
        raise ValueError(
            f"{evidence.source}: a law of pass@k needs at least 2 samples of some question, every "
            "question has 1; draw more samples"
        )


def _evidence(
    source: str,
    models: Sequence[str],
    N: ArrayLike,
    D: ArrayLike,
    counts: Sequence[tuple[Array, Array, Array]],
    gold_nll: Array | None,
) -> Evidence:
    own, peak = zip(*(_own_beta(*each) for each in counts), strict=True)
    return Evidence(
        source=source,
        models=tuple(models),
        N=np.asarray(N, float),
        D=np.asarray(D, float),
        num_questions=np.array([w.sum() for _, _, w in counts]),
        successes=_table([(c, w) for _, c, w in counts]),
        failures=_table([(n - c, w) for n, c, w in counts]),
        samples=_table([(n, w) for n, _, w in counts]),
        own=np.array(own),
        peak=np.array(peak),
        gold_nll=gold_nll,
    )


def _own_beta(n: Array, c: Array, w: Array) -> tuple[tuple[float, float], float]:
    if c.sum() > 0:
        fit = fit_beta_binomial(n, c, weights=w)
        return (fit.a, fit.b), fit.log_likelihood
    mean = HALF_A_SUCCESS / float((n * w).sum())
    return (mean, 1 - mean), 0.0  # a towards 0 makes no success at all certain


def _table(columns: Sequence[tuple[Array, Array]]) -> Table:
    found = []
    for row, (count, weight) in enumerate(columns):
        values, index = np.unique(count, return_inverse=True)
        total = np.bincount(index.ravel(), weights=weight, minlength=values.size)
        kept = values > 0
        found.append((np.full(kept.sum(), row), values[kept], total[kept]))
    rows, counts, weights = (np.concatenate(part) for part in zip(*found, strict=True))
    return Table(rows, counts, weights, len(columns))


def _count_grid(num_virtual: int) -> Array:
    wide = EXACT_COUNTS * 1.2 ** np.arange(1 + np.log(num_virtual / EXACT_COUNTS) / np.log(1.2))
    grid = np.concatenate([np.arange(EXACT_COUNTS + 1), np.round(wide), [num_virtual]])
    return np.unique(grid[grid <= num_virtual]).astype(float)


def _expected_counts(num_virtual: int) -> Array:
    """Binomial(c; n, p) at every NLL of the grid, on the grid of counts, [321, nodes]."""
    c = np.arange(num_virtual + 1.0)
    p = np.clip(np.exp(-NLL_GRID[:, None]), 0.0, 1 - 1e-12)
    choose = log_gamma_ratio(1.0, num_virtual) - log_gamma_ratio(1.0, c)
    choose -= log_gamma_ratio(1.0, num_virtual - c)
    mass = np.exp(choose + c * np.log(p) + (num_virtual - c) * np.log1p(-p))
    return np.asarray(mass @ _shared(c, _count_grid(num_virtual)), float)


def _shared(values: Array, grid: Array) -> Array:
    """Every value shared between its two neighbours on the grid, its mean kept, [V, grid]."""
    at = np.clip(np.searchsorted(grid, values, side="right") - 1, 0, grid.size - 2)
    part = np.clip((values - grid[at]) / (grid[at + 1] - grid[at]), 0.0, 1.0)
    share = np.zeros((values.size, grid.size))
    rows = np.arange(values.size)
    share[rows, at] = 1 - part
    share[rows, at + 1] += part
    return share
