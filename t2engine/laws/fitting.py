"""The one fitting procedure: seeded multistart of a batched, bounded Levenberg-Marquardt.

    minimise  sum_r w_r rho(residual_r(theta)),   low <= theta <= high
    rho(r) = r^2 / 2,  or Huber's: delta (|r| - delta / 2) where |r| > delta
    or a law's own sum_r w_r deviance_r(theta), which gives its gradient and curvature

All starts, or all bootstrap replicates, step together as one batch: a law supplies residuals and
their analytic Jacobian for many parameter vectors at once, and a fit is a few hundred small
matrix solves. It is the sum, not the mean: a mean with a default tolerance stops early.

Shapes: theta [S, P], residuals [S, R], jacobian [S, R, P], weights [R] or [S, R];
        S starts or replicates, P parameters, R residuals.
Source: Levenberg-Marquardt with gain-ratio damping: Nielsen 1999, IMM-REP-1999-05; Huber 1964;
        the sum and the many starts: Besiroglu et al., arXiv:2404.10102.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2engine.laws.gamma import Array

Residuals = Callable[[Array], tuple[Array, Array]]  # [S, P] -> [S, R], [S, R, P]
# theta [S, P], weight [S, R] -> objective [S] >= 0, gradient [S, P], curvature [S, P, P] >= 0
Loss = Callable[[Array, Array], tuple[Array, Array, Array]]

# A slope counts in units of sqrt(curvature x objective): its square is the relative decrease left.
SLOPE_TOLERANCE = 1e-9
STALLED_TOLERANCE = 1e-6  # once no step lowers the objective: the rest is its rounding
EXACT_RESIDUAL = 1e-12  # residuals are logs, NLLs or probabilities, of order one
MAX_STEPS = 500
DAMPING_LIMIT = 1e14
AGREEMENT = 1e-6  # two starts found the same optimum when their objectives agree this well


@dataclass(frozen=True)
class Parameter:
    """A fitted parameter: its box, and where in it random starts are drawn."""

    name: str
    low: float
    high: float
    start_low: float
    start_high: float


@dataclass(frozen=True)
class Fit:
    """The best of all starts. `num_agreeing` of `num_starts` reached it; `bounds_hit` by name."""

    values: tuple[float, ...]
    objective: float
    converged: bool
    bounds_hit: tuple[str, ...]
    num_starts: int
    num_agreeing: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Every member of a batch of fits."""

    values: Array  # [S, P]
    objective: Array  # [S]
    converged: Array  # [S], bool


def fit_multistart(
    residuals: Residuals,
    parameters: Sequence[Parameter],
    *,
    num_starts: int = 64,
    seed: int = 0,
    huber_delta: float | None = None,
    weights: Array | None = None,
    starts: Array | None = None,
) -> Fit:
    """The least objective over random starts, and over `starts` [S, P] where given."""
    drawn = random_starts(parameters, num_starts, seed)
    points = drawn if starts is None else np.concatenate([starts, drawn])
    batch = fit_batch(residuals, parameters, points, huber_delta=huber_delta, weights=weights)
    return best_of(batch, parameters)


def random_starts(parameters: Sequence[Parameter], num_starts: int, seed: int) -> Array:
    return np.random.default_rng(seed).uniform(
        [p.start_low for p in parameters],
        [p.start_high for p in parameters],
        size=(num_starts, len(parameters)),
    )


def best_of(batch: Batch, parameters: Sequence[Parameter]) -> Fit:
    best = int(np.argmin(batch.objective))
    least = float(batch.objective[best])
    agreeing = batch.objective <= least * (1 + AGREEMENT) + 1e-20
    return Fit(
        values=tuple(map(float, batch.values[best])),
        objective=least,
        converged=bool(batch.converged[best]),
        bounds_hit=_bounds_hit(batch.values[best], parameters),
        num_starts=len(batch.values),
        num_agreeing=int(agreeing.sum()),
    )


def fit_batch(
    residuals: Residuals,
    parameters: Sequence[Parameter],
    starts: Array,
    *,
    huber_delta: float | None = None,
    weights: Array | None = None,
) -> Batch:
    """Every start to its own local optimum; with weights [S, R] each start is its own data set."""
    return minimise_batch(_Loss(residuals, huber_delta), parameters, starts, weights=weights)


def minimise_batch(
    loss: Loss,
    parameters: Sequence[Parameter],
    starts: Array,
    *,
    weights: Array | None = None,
    slope_tolerance: float = SLOPE_TOLERANCE,
) -> Batch:
    box = np.array([p.low for p in parameters]), np.array([p.high for p in parameters])
    theta = np.clip(np.asarray(starts, float), *box)
    num_starts = len(theta)
    weight = np.ones(1) if weights is None else np.asarray(weights, float)
    weight = np.broadcast_to(weight, (num_starts, weight.shape[-1]))
    state = _State(theta, *loss(theta, weight), np.full(num_starts, 1e-3), np.full(num_starts, 2.0))
    converged = np.zeros(num_starts, bool)
    active = np.arange(num_starts)
    for _ in range(MAX_STEPS):
        here = state.at(active)
        slope, stalled = _slope(here, box), here.damping > DAMPING_LIMIT
        done = (slope <= slope_tolerance) | (stalled & (slope <= STALLED_TOLERANCE))
        done |= here.objective <= weight[active].sum(axis=1) * EXACT_RESIDUAL**2 / 2
        converged[active[done]] = True
        going = ~done & ~stalled
        active = active[going]
        if active.size == 0:
            break
        state.put(active, _advance(here.at(going), loss, weight[active], box))
    return Batch(state.theta, state.objective, converged)


@dataclass
class _State:
    """Where every member of a batch is, and how boldly it steps."""

    theta: Array  # [S, P]
    objective: Array  # [S]
    gradient: Array  # [S, P]
    hessian: Array  # [S, P, P]
    damping: Array  # [S]
    growth: Array  # [S], of the damping at the next refusal

    def at(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> _State:
        return _State(*(values[rows] for values in vars(self).values()))

    def put(self, rows: NDArray[np.int64], other: _State) -> None:
        for name, values in vars(self).items():
            values[rows] = getattr(other, name)


def _advance(here: _State, loss: Loss, weight: Array, box: tuple[Array, Array]) -> _State:
    """One damped step of every member, taken where it lowers the objective."""
    trial = np.clip(here.theta + _damped_step(here, box), *box)
    step = trial - here.theta
    objective, gradient, hessian = loss(trial, weight)
    foretold = -(
        np.einsum("sp,sp->s", here.gradient, step)
        + np.einsum("sp,spq,sq->s", step, here.hessian, step) / 2
    )
    better = objective < here.objective
    lowered = np.where(better, here.objective - objective, 0.0)
    gain = np.clip(lowered / np.maximum(foretold, 1e-200), 0, 2)
    shrunk = here.damping * np.clip(1 - (2 * gain - 1) ** 3, 1 / 10, 2)
    return _State(
        theta=np.where(better[:, None], trial, here.theta),
        objective=np.where(better, objective, here.objective),
        gradient=np.where(better[:, None], gradient, here.gradient),
        hessian=np.where(better[:, None, None], hessian, here.hessian),
        damping=np.where(better, np.maximum(shrunk, 1e-15), here.damping * here.growth),
        growth=np.where(better, 2.0, here.growth * 2),
    )


@dataclass(frozen=True)
class _Loss:
    residuals: Residuals
    huber_delta: float | None

    def __call__(self, theta: Array, weight: Array) -> tuple[Array, Array, Array]:
        """Objective [S], gradient [S, P], Gauss-Newton Hessian [S, P, P]."""
        residual, jacobian = self.residuals(theta)
        if self.huber_delta is None:
            slope, curvature = residual, np.ones(())
            value = residual**2 / 2
        else:
            delta, size = self.huber_delta, np.abs(residual)
            slope = np.clip(residual, -delta, delta)
            curvature = delta / np.maximum(size, delta)
            value = np.where(size > delta, delta * (size - delta / 2), residual**2 / 2)
        transposed = jacobian.swapaxes(1, 2)  # [S, P, R]
        gradient = (transposed @ (weight * slope)[..., None])[..., 0]
        hessian = (transposed * (weight * curvature)[:, None, :]) @ jacobian
        return (weight * value).sum(axis=1), gradient, hessian


def _free(here: _State, box: tuple[Array, Array]) -> NDArray[np.bool_]:
    """Parameters not held at a bound by their gradient, [S, P]."""
    low, high = box
    held_low = (here.theta <= low) & (here.gradient > 0)
    return ~(held_low | ((here.theta >= high) & (here.gradient < 0)))


def _slope(here: _State, box: tuple[Array, Array]) -> Array:
    """The steepest free direction, [S], in units of sqrt(curvature x objective)."""
    scale = np.sqrt(np.einsum("spp->sp", here.hessian) * here.objective[:, None])
    slope = np.abs(here.gradient) * _free(here, box)
    return np.asarray((slope / np.maximum(scale, 1e-150)).max(axis=1), float)


def _damped_step(here: _State, box: tuple[Array, Array]) -> Array:
    free = _free(here, box)
    diagonal = np.einsum("spp->sp", here.hessian)
    floor = 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300
    ridge = here.damping[:, None] * np.maximum(diagonal, floor)
    both = free[:, :, None] & free[:, None, :]
    system = np.where(both, here.hessian, 0.0)
    system += np.eye(free.shape[1]) * np.where(free, ridge, 1.0)[:, :, None]
    return np.asarray(-np.linalg.solve(system, (here.gradient * free)[..., None])[..., 0], float)


def _bounds_hit(values: Array, parameters: Sequence[Parameter]) -> tuple[str, ...]:
    return tuple(
        p.name for p, value in zip(parameters, values, strict=True) if not p.low < value < p.high
    )
