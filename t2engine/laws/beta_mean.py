"""The mean over p ~ Beta(a, b) of a smooth function of p that is bounded by its ends.

    E[g] = g(0) E[(1 - p)^k] + g(1) E[p] + E[h],   h = g - g(0) (1 - p)^k - g(1) p
    E[h] = a b / ((a + b) (a + b + 1)) E'[h / (p (1 - p))],   E' over Beta(a + 1, b + 1)

The first two terms are closed, and E' is smooth over the log-odds of p whatever a and b: the
trapezoidal rule there converges as exp(-2 pi y / step), y = pi / 2 half the strip without poles.
Gauss and Jacobi's rule would need k / 2 nodes to be exact, and its weights lose digits at small a.

Shapes: P distributions, J nodes.
Source: Trefethen and Weideman 2014, SIAM Review 56(3), section 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2engine.laws.gamma import Array, log_beta_ratio


@dataclass(frozen=True)
class Grid:
    """Nodes of log-odds around the mean, in standard deviations: those are at most sqrt(2)."""

    step: float
    below: int  # steps: to where the slowest tail, exp(-|u|), is lost beside p near 1 / k
    above: int


EXACT = Grid(0.177, 320, 320)  # to rounding
QUICK = Grid(0.354, 130, 70)  # to some 1e-8, for k up to 1e9


@dataclass(frozen=True, eq=False)
class BetaNodes:
    """`p` to `log_wrong` and `weight` are [P, J]; a and b [P]."""

    a: Array
    b: Array
    p: Array
    wrong: Array
    log_wrong: Array
    weight: Array

    def mean(self, k: Array, *functions: tuple[Array, Array, Array]) -> tuple[Array, ...]:
        """Of functions given by their values at the nodes [P, J] and at p = 0 and 1; k is [P]."""
        none_right = np.exp(log_beta_ratio(self.a, self.b, k))
        right = self.a / (self.a + self.b)
        fading = None
        means = []
        for values, at_zero, at_one in functions:
            between = values - at_one[:, None] * self.p
            if np.any(at_zero):
                fading = np.exp(k[:, None] * self.log_wrong) if fading is None else fading
                between -= at_zero[:, None] * fading
            inner = np.einsum("pj,pj->p", self.weight, between)
            means.append(np.asarray(at_zero * none_right + at_one * right + inner, float))
        return tuple(means)


def beta_nodes(a: Array, b: Array, grid: Grid = EXACT) -> BetaNodes:
    a_up, b_up = a + 1, b + 1
    step = grid.step * np.sqrt(1 / a_up + 1 / b_up)
    u = np.log(a_up / b_up)[:, None] + step[:, None] * np.arange(-grid.below, grid.above + 1)
    small = np.exp(-np.abs(u))
    near_one = -np.log1p(small)  # ln of the larger of p and 1 - p
    log_p, log_wrong = near_one + np.minimum(u, 0), near_one - np.maximum(u, 0)
    log_weight = a_up[:, None] * log_p + b_up[:, None] * log_wrong
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    share = a / (a + b) * b / (a + b + 1) / weight.sum(axis=1)
    p, wrong = np.exp(log_p), np.exp(log_wrong)
    weight *= share[:, None] / (p * wrong)
    return BetaNodes(a, b, p, wrong, log_wrong, weight)
