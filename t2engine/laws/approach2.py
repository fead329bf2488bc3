"""Approach 2: the loss sets how success is spread over questions, and that spread sets pass@k.

    p_i ~ Beta(mu nu, (1 - mu) nu),   pass@k = 1 - B(a, b + k) / B(a, b)
    mu = theta2 / (1 + exp(theta1 (L - theta0))),   nu = exp(theta3 + theta4 L)

Stage 1 fits the Chinchilla law to the task NLL, L: squared error, E profiled over 40 values in
[0.01, 0.95] of the least NLL, every isoFLOP group weighted by the inverse of its variance. Stage 2
fits theta to pass@k by squared error, at the L that stage 1 predicts: what a plan will use.

Units:  N parameters, D training tokens, k samples per question, L natural-log loss.
Shapes: N, D, task_nll [M]; k [K]; pass_at_k [M, K]; predictions broadcast.
Raises: ValueError for fewer than 6 checkpoints, 3 different N or D, 2 of k, or no task NLL.
Source: Roberts et al., arXiv:2604.01411, Approach 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.fitting import AGREEMENT, Fit, Parameter, fit_batch, fit_multistart
from t2engine.laws.gamma import Array, digamma_difference, log_beta_ratio
from t2engine.laws.law import FitReport, check_checkpoints, report_of
from t2engine.laws.power_sum import power_sum

PROFILE = (0.01, 0.95, 40)  # of the least NLL: first, last and number of values tried for E
SAME_COMPUTE = 0.05  # checkpoints whose 6 N D agree this closely form an isoFLOP group
STARTS_PER_CONSTANT = 2
MEAN_MARGIN = 1e-12  # mu stays this far inside (0, 1)


@dataclass(frozen=True)
class Approach2Law:
    training: ChinchillaLaw
    theta0: float
    theta1: float
    theta2: float
    theta3: float
    theta4: float
    fit: FitReport | None = None  # of stage 2; stage 1's is training.fit

    name = "approach2"

    def link(self, loss: ArrayLike) -> tuple[Array, Array]:
        """a and b of the Beta distribution of p at a task NLL."""
        theta = (self.theta0, self.theta1, self.theta2, self.theta3, self.theta4)
        a, b, _, _ = _link(np.array([theta]), np.asarray(loss, float))
        return a[0], b[0]

    def spread_at(self, N: ArrayLike, D: ArrayLike) -> tuple[Array, Array]:
        return self.link(self.training.loss(N, D))

    def pass_at_k(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        return np.asarray(-np.expm1(-self.merit(N, D, k)), float)

    def merit(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        a, b = self.link(self.training.loss(N, D))
        return -log_beta_ratio(a, b, k)


def check_approach2(N: ArrayLike, D: ArrayLike, k: ArrayLike, task_nll: ArrayLike) -> None:
    check_checkpoints("Approach 2", N, D, least=6)
    if np.unique(k).size < 2:
        raise ValueError(
            f"Approach 2 needs at least 2 different k, got {np.unique(k).tolist()}; one k says "
            "nothing about the spread over questions"
        )
    if not np.all(np.isfinite(task_nll) & (np.asarray(task_nll) > 0)):
        raise ValueError("Approach 2 needs a task NLL above 0 (gold_nll) at every checkpoint")


def fit_approach2(
    N: ArrayLike,
    D: ArrayLike,
    k: ArrayLike,
    pass_at_k: ArrayLike,
    task_nll: ArrayLike,
    *,
    num_starts: int = 64,
    seed: int = 0,
) -> Approach2Law:
    N, D, k, task_nll = (np.asarray(x, float).ravel() for x in (N, D, k, task_nll))
    pass_at_k = np.asarray(pass_at_k, float)
    check_approach2(N, D, k, task_nll)
    if pass_at_k.shape != (N.size, k.size) or not np.all((pass_at_k >= 0) & (pass_at_k <= 1)):
        raise ValueError(
            f"pass_at_k must be within [0, 1] and of shape {[N.size, k.size]}, got shape "
            f"{list(pass_at_k.shape)} and values from {pass_at_k.min()} to {pass_at_k.max()}"
        )
    training = _fit_task_nll(N, D, task_nll, seed)
    loss = training.loss(N, D)
    centre, width = float(loss.mean()), float(max(loss.std(), 1e-9 * loss.mean()))
    scaled = (loss - centre) / width
    reach = float(np.abs(scaled).max()) + 2.0
    parameters = (
        Parameter("theta0", -3 * reach, 3 * reach, scaled.min(), scaled.max()),
        Parameter("theta1", 0.0, 50.0, 0.2, 5.0),
        Parameter("theta2", 1e-6, 1.0, 0.2, 1.0),
        Parameter("theta3", -9.0, 14.0, -1.0, 4.0),
        Parameter("theta4", -10.0, 10.0, -1.0, 1.0),
    )

    def residuals(theta: Array) -> tuple[Array, Array]:
        return _residuals(theta, scaled, k, pass_at_k)

    fit = fit_multistart(residuals, parameters, num_starts=num_starts, seed=seed)
    if fit.values[2] == 1.0:  # no ceiling at all, which is not a bound in the way
        fit = replace(fit, bounds_hit=tuple(x for x in fit.bounds_hit if x != "theta2"))
    t0, t1, t2, t3, t4 = fit.values
    left = residuals(np.array([fit.values]))[0]
    report = report_of(
        fit, rmse=float(np.sqrt((left**2).mean())), num_points=left.size, N=N, D=D, k=k
    )
    return Approach2Law(
        training=training,
        theta0=centre + width * t0,
        theta1=t1 / width,
        theta2=t2,
        theta3=t3 - t4 * centre / width,
        theta4=t4 / width,
        fit=report,
    )


def _fit_task_nll(N: Array, D: Array, nll: Array, seed: int) -> ChinchillaLaw:
    problem = power_sum(
        nll, {"A": (N, "alpha"), "B": (D, "beta")}, relative=False, held_constant=True
    )
    first, last, count = PROFILE
    constants = np.linspace(first, last, count) * nll.min()
    rng = np.random.default_rng(seed)
    free = problem.parameters[1:]
    drawn = rng.uniform(
        [p.start_low for p in free],
        [p.start_high for p in free],
        size=(count * STARTS_PER_CONSTANT, len(free)),
    )
    tried = np.repeat(np.log(constants), STARTS_PER_CONSTANT)
    starts = np.concatenate([tried[:, None], drawn], axis=1)
    weights = _isoflop_weights(N, D, nll)
    batch = fit_batch(problem.residuals, problem.parameters, starts, weights=weights)
    best = int(np.argmin(batch.objective))
    same = batch.objective[tried == tried[best]]  # other starts at the same E
    values = tuple(map(float, batch.values[best]))
    edge = ("E",) if tried[best] in (tried[0], tried[-1]) else ()
    ends = zip(problem.parameters[1:], values[1:], strict=True)
    fit = Fit(
        values=values,
        objective=float(batch.objective[best]),
        converged=bool(batch.converged[best]),
        bounds_hit=edge + tuple(p.name for p, value in ends if not p.low < value < p.high),
        num_starts=STARTS_PER_CONSTANT,
        num_agreeing=int((same <= batch.objective[best] * (1 + AGREEMENT)).sum()),
    )
    report = report_of(fit, rmse=problem.rmse(values), num_points=nll.size, N=N, D=D)
    return ChinchillaLaw(**problem.named(values), fit=report)


def _isoflop_weights(N: Array, D: Array, nll: Array) -> Array:
    """Inverse variance within each group of equal compute, scaled to mean 1.

    A ladder without such groups (any of fewer than 3 checkpoints) weighs every checkpoint alike.
    """
    order = np.argsort(N * D)
    jumps = np.diff(np.log((N * D)[order])) > SAME_COMPUTE
    group = np.empty(N.size, int)
    group[order] = np.concatenate([[0], np.cumsum(jumps)])
    sizes = np.bincount(group)
    if sizes.min() < 3:
        return np.ones(N.size)
    variance = np.array([nll[group == g].var(ddof=1) for g in range(sizes.size)])
    weights = 1 / np.maximum(variance, 1e-6 * variance.max())[group]
    return np.asarray(weights / weights.mean(), float)


def _link(theta: Array, loss: Array) -> tuple[Array, Array, Array, Array]:
    """a, b, mu and the logistic factor of mu, for theta [S, 5] at every loss."""
    t0, t1, t2, t3, t4 = (column.reshape((-1,) + (1,) * loss.ndim) for column in theta.T)
    logistic = np.exp(-np.logaddexp(0.0, t1 * (loss - t0)))
    mean = np.clip(t2 * logistic, MEAN_MARGIN, 1 - MEAN_MARGIN)
    concentration = np.exp(np.clip(t3 + t4 * loss, -20.0, 20.0))
    return mean * concentration, (1 - mean) * concentration, mean, logistic


def _residuals(theta: Array, loss: Array, k: Array, observed: Array) -> tuple[Array, Array]:
    """pass@k - observed, [S, M K], and its Jacobian over theta, [S, M K, 5]."""
    a, b, _, logistic = (x[:, :, None] for x in _link(theta, loss))  # [S, M, 1]
    t0, t1, t2 = (theta[:, j, None, None] for j in range(3))
    where = loss[None, :, None]
    log_fail = log_beta_ratio(a, b, k)  # [S, M, K]
    fail = np.exp(log_fail)
    both = digamma_difference(a + b, k)
    by_a, by_b = fail * both, fail * (both - digamma_difference(b, k))
    concentration = a + b
    by_mean = concentration * (by_a - by_b)
    by_log_concentration = a * by_a + b * by_b
    slope = t2 * logistic * (1 - logistic)
    jacobian = np.stack(
        [
            by_mean * slope * t1,
            -by_mean * slope * (where - t0),
            by_mean * logistic,
            by_log_concentration,
            by_log_concentration * where,
        ],
        axis=-1,
    )
    residual = -np.expm1(log_fail) - observed
    num_points = observed.size
    return residual.reshape(len(theta), num_points), jacobian.reshape(len(theta), num_points, 5)
