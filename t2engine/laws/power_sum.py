"""A constant plus falling powers, the common form of the Chinchilla law and Approach 1.

    y(x) = E + sum_j c_j / x_j^e_j,       x_j in (N, D) or (N, D, k)

Fitted over (ln E, ln c_j centred, e_j). Centring on the data's mean ln x_j keeps a coefficient
from following its exponent. Residuals are ln y_hat - ln y (robust fits) or y_hat - y.

Shapes: x [J, R], y [R]; J powers, R points; theta [S, 1 + 2 J].
Source: log-sum-exp form: Hoffmann et al., arXiv:2203.15556, appendix D.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2engine.laws.fitting import Fit, Parameter, fit_batch, fit_multistart
from t2engine.laws.gamma import Array

EXPONENT = (0.01, 2.0)
START_EXPONENT = (0.05, 1.0)
NEGLIGIBLE = 14.0  # a term e^-14 of the least y adds nothing the data can tell from 0


@dataclass(frozen=True, eq=False)
class PowerSum:
    """Data of one fit, and the residuals the fitting procedure asks for."""

    y: Array  # [R]
    log_x: Array  # [J, R], centred
    centres: Array  # [J]
    relative: bool  # residuals of ln y rather than y
    held_constant: bool  # E stays where each start put it
    parameters: tuple[Parameter, ...]

    def residuals(self, theta: Array) -> tuple[Array, Array]:
        num_powers = len(self.log_x)
        exponents = theta[:, 1 + num_powers :]  # [S, J]
        logs = theta[:, : 1 + num_powers, None] - np.concatenate(
            [np.zeros((len(theta), 1, self.y.size)), exponents[:, :, None] * self.log_x], axis=1
        )  # [S, 1 + J, R], the logarithm of every term
        terms = np.exp(logs)
        total = terms.sum(axis=1)  # [S, R]
        if self.relative:
            terms = terms / total[:, None, :]
            residual = np.log(total) - np.log(self.y)
        else:
            residual = total - self.y
        by_exponent = -terms[:, 1:] * self.log_x
        if self.held_constant:
            terms[:, 0] = 0.0
        return residual, np.concatenate([terms, by_exponent], axis=1).swapaxes(1, 2)

    def named(self, theta: Sequence[float] | Array) -> dict[str, float]:
        """Every parameter under its own name, with logarithms and centring undone."""
        num_powers = len(self.centres)
        values = np.asarray(theta, float).copy()
        values[1 : 1 + num_powers] += values[1 + num_powers :] * self.centres
        values[: 1 + num_powers] = np.exp(values[: 1 + num_powers])
        return {p.name: float(x) for p, x in zip(self.parameters, values, strict=True)}

    def rmse(self, theta: Sequence[float]) -> float:
        residual = self.residuals(np.array([theta]))[0]
        return float(np.sqrt((residual**2).mean()))

    def fit(
        self,
        *,
        num_starts: int,
        seed: int,
        huber_delta: float | None = None,
        weights: Array | None = None,
    ) -> Fit:
        return fit_multistart(
            self.residuals,
            self.parameters,
            num_starts=num_starts,
            seed=seed,
            huber_delta=huber_delta,
            weights=weights,
        )

    def standard_errors(
        self, start: Sequence[float], weights: Array, huber_delta: float | None = None
    ) -> dict[str, float]:
        """Spread over one refit for each row of weights [S, R]: a bootstrap."""
        starts = np.tile(np.asarray(start, float), (len(weights), 1))
        batch = fit_batch(
            self.residuals, self.parameters, starts, huber_delta=huber_delta, weights=weights
        )
        draws = [self.named(theta) for theta in batch.values]
        return {p.name: float(np.std([d[p.name] for d in draws])) for p in self.parameters}


def power_sum(
    y: Array, xs: dict[str, tuple[Array, str]], *, relative: bool, held_constant: bool = False
) -> PowerSum:
    """`xs` maps a coefficient's name to its x [R] and the name of its exponent."""
    y = np.asarray(y, float)
    log_x = np.log(np.stack([np.asarray(x, float) for x, _ in xs.values()]))
    centres = log_x.mean(axis=1)
    least, largest = float(np.log(y.min())), float(np.log(y.max()))
    names = ["E", *xs]
    linear = [
        Parameter(name, least - NEGLIGIBLE, largest + NEGLIGIBLE, least - 4.0, largest)
        for name in names
    ]
    powers = [Parameter(e, *EXPONENT, *START_EXPONENT) for _, e in xs.values()]
    return PowerSum(
        y=y,
        log_x=log_x - centres[:, None],
        centres=centres,
        relative=relative,
        held_constant=held_constant,
        parameters=(*linear, *powers),
    )
