"""What every fitted law carries: how the fit went, and the range of the data behind it.

Units:  N parameters, D training tokens, k samples per question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2engine.laws.fitting import Fit
from t2engine.laws.gamma import Array

TRAIN_SHARE = 0.7  # of the checkpoints; the rest is held out


@dataclass(frozen=True)
class FitReport:
    """How a fit went. `standard_errors` come from a bootstrap by model, where one was asked for."""

    converged: bool
    objective: float
    rmse: float
    num_points: int
    num_checkpoints: int
    bounds_hit: tuple[str, ...]
    num_starts: int
    num_agreeing: int
    N_range: tuple[float, float]
    D_range: tuple[float, float]
    k_range: tuple[float, float] = (1.0, 1.0)
    standard_errors: dict[str, float] = field(default_factory=dict)


def report_of(
    fit: Fit,
    *,
    rmse: float,
    num_points: int,
    N: ArrayLike,
    D: ArrayLike,
    k: ArrayLike = 1.0,
    standard_errors: dict[str, float] | None = None,
) -> FitReport:
    return FitReport(
        converged=fit.converged,
        objective=fit.objective,
        rmse=rmse,
        num_points=num_points,
        num_checkpoints=np.asarray(N).size,
        bounds_hit=fit.bounds_hit,
        num_starts=fit.num_starts,
        num_agreeing=fit.num_agreeing,
        N_range=_range(N),
        D_range=_range(D),
        k_range=_range(k),
        standard_errors=standard_errors or {},
    )


def check_checkpoints(law: str, N: ArrayLike, D: ArrayLike, least: int) -> None:
    """A power of N needs three sizes, a power of D three token counts, a fit spare points."""
    N, D = np.asarray(N, float), np.asarray(D, float)
    got = (np.unique(N).size, np.unique(D).size, N.size)
    if got[0] < 3 or got[1] < 3 or got[2] < least:
        raise ValueError(
            f"{law} needs at least {least} checkpoints over 3 different N and 3 different D, "
            f"got {got[2]} over {got[0]} and {got[1]}; add models to the observations"
        )


def least_share(order_by: ArrayLike, share: float = TRAIN_SHARE) -> NDArray[np.bool_]:
    """The `share` of checkpoints, rounded up, with the least value."""
    order = np.argsort(np.asarray(order_by, float), kind="stable")
    least = np.zeros(order.size, bool)
    least[order[: int(np.ceil(share * order.size - 1e-9))]] = True
    return least


def resample_weights(groups: Sequence[str], num_resamples: int, seed: int) -> Array:
    """How often each row is drawn, [num_resamples, R], when whole groups are drawn."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(names.size, np.full(names.size, 1 / names.size), size=num_resamples)
    return draws[:, index].astype(float)


def _range(values: ArrayLike) -> tuple[float, float]:
    values = np.asarray(values, float)
    return float(values.min()), float(values.max())
