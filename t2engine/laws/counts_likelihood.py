"""The likelihood of the counts law, its gradient and its curvature.

    objective = sum_m w_m (peak_m - ln P(counts of m | mu_m, nu_m)) + prior

peak_m is the likelihood of the checkpoint's own best Beta, so every term is a deviance, >= 0. The
curvature is the counts' own, made non-negative, through the slope of the link (Gauss-Newton).

With x = A / N^alpha and y = B / D^beta in log-odds the latent loss is (x^bend + y^bend)^(1 / bend):
the scale on which A, alpha, B and beta are fitted, because it keeps its meaning whatever the bend.

Shapes: theta [S, P = 9]; S starts or replicates; M checkpoints; T rows of a table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2engine.laws.evidence import Evidence, Table
from t2engine.laws.fitting import Parameter
from t2engine.laws.gamma import (
    Array,
    digamma_difference,
    log_gamma_ratio,
    trigamma_difference,
)

# In the order of theta; A, B, ceiling, spread and bend as logarithms.
NAMES = ("top", "A", "alpha", "B", "beta", "ceiling", "spread", "kappa", "bend")
FAINTEST = -60.0  # ln s below this is a chance of exp(-60): nothing depends on it
MEAN_MARGIN = 1e-12  # mu stays this far below 1

# Weak priors, normal with (mean, deviation): of ln alpha and ln beta, which published fits put at
# .28 to .51 (Chinchilla, Porian et al., Sardana et al.); of ln ceiling, 0 where all can be reached;
# of kappa, 0 where the spread over questions does not depend on ability; of ln bend, 0 for a sum.
EXPONENT_PRIOR = (float(np.log(0.35)), 0.5)
CEILING_PRIOR = (0.0, 2.0)
KAPPA_PRIOR = (0.0, 1.0)
BEND_PRIOR = (0.0, 0.7)


@dataclass(frozen=True, eq=False)
class CountsLikelihood:
    """A Loss of laws/fitting.py: called with theta [S, 9] and weights [S, M]."""

    evidence: Evidence
    log_n: Array  # centred
    log_d: Array
    centres: tuple[float, float]

    def __call__(self, theta: Array, weight: Array) -> tuple[Array, Array, Array]:
        shape, jacobian = self.link(theta)  # [S, 2, M] and [S, 2, M, P]
        deviance, slope, curvature = self.deviance(shape)
        value = (weight * deviance).sum(axis=1)
        weighted = weight[:, None, :] * slope
        gradient = np.einsum("sim,simp->sp", weighted, jacobian)
        half = np.einsum("sm,sijm,sjmp->simp", weight, curvature, jacobian)
        S, _, M, P = jacobian.shape
        flat = jacobian.reshape(S, 2 * M, P)
        hessian = flat.swapaxes(1, 2) @ half.reshape(S, 2 * M, P)
        prior, prior_slope, prior_curvature = _prior(theta)
        hessian += np.eye(P) * prior_curvature[:, :, None]
        return value + prior, gradient + prior_slope, hessian

    def uncentring(self) -> Array:
        """The matrix from theta to the same parameters with ln A and ln B at N = D = 1."""
        turn = np.eye(len(NAMES))
        turn[1, 2], turn[3, 4] = self.centres
        return turn

    def link(self, theta: Array) -> tuple[Array, Array]:
        """ln mu and ln nu, [S, 2, M], and their slopes over theta, [S, 2, M, P]."""
        columns = theta.T[:, :, None]  # [P, S, 1]
        top, log_A, alpha, log_B, beta, log_ceiling, log_spread, kappa, log_bend = columns
        bend = np.exp(log_bend)
        by_N, by_D = log_A - alpha * self.log_n, log_B - beta * self.log_d  # [S, M], logarithms
        log_loss = np.logaddexp(bend * by_N, bend * by_D) / bend
        share = np.exp(bend * (by_N - log_loss))  # of the loss that is N's
        loss = np.exp(log_loss)
        log_s = -np.logaddexp(0.0, loss - top)
        slope = np.where(log_s > FAINTEST, -np.expm1(log_s), 0.0)  # of ln s over eta
        log_s = np.maximum(log_s, FAINTEST)
        log_mu = np.minimum(log_ceiling + log_s, np.log1p(-MEAN_MARGIN))
        one, none = np.ones_like(slope), np.zeros_like(slope)
        fall = -slope * loss
        by_eta = np.stack(
            [
                slope,
                fall * share,
                -fall * share * self.log_n,
                fall * (1 - share),
                -fall * (1 - share) * self.log_d,
            ],
            axis=-1,
        )
        by_bend = fall * (share * by_N + (1 - share) * by_D - log_loss)
        mu_slopes = np.concatenate([by_eta, np.stack([one, none, none, by_bend], axis=-1)], axis=-1)
        nu_slopes = np.concatenate(
            [kappa[..., None] * by_eta, np.stack([none, one, log_s, kappa * by_bend], axis=-1)],
            axis=-1,
        )
        return (
            np.stack([log_mu, log_spread + kappa * log_s], axis=1),
            np.stack([mu_slopes, nu_slopes], axis=1),
        )

    def deviance(self, shape: Array) -> tuple[Array, Array, Array]:
        """peak - ln P, [S, M]; its slope, [S, 2, M], and curvature over (ln mu, ln nu)."""
        mu, nu = np.exp(shape[:, 0]), np.exp(shape[:, 1])
        a, b = mu * nu, (1 - mu) * nu
        fine, first, second = zip(
            _rises(self.evidence.successes, a),
            _rises(self.evidence.failures, b),
            _rises(self.evidence.samples, nu),
            strict=True,
        )
        deviance = self.evidence.peak - (fine[0] + fine[1] - fine[2])
        by_a, by_b = first[0] - first[2], first[1] - first[2]
        aa, bb, ab = second[0] - second[2], second[1] - second[2], -second[2]
        slope = -np.stack([a * (by_a - by_b), a * by_a + b * by_b], axis=1)
        cross = a * a * (aa - ab) + a * b * (ab - bb) + a * (by_a - by_b)
        mean = a * a * (aa - 2 * ab + bb) + a * (by_a - by_b)
        scale = a * a * aa + 2 * a * b * ab + b * b * bb + a * by_a + b * by_b
        curvature = -np.stack([np.stack([mean, cross], 1), np.stack([cross, scale], 1)], 1)
        return deviance, slope, _non_negative(curvature)


def counts_likelihood(evidence: Evidence, centred_on: Evidence | None = None) -> CountsLikelihood:
    log_N, log_D = np.log(evidence.N), np.log(evidence.D)
    middle = centred_on or evidence
    centres = float(np.log(middle.N).mean()), float(np.log(middle.D).mean())
    return CountsLikelihood(evidence, log_N - centres[0], log_D - centres[1], centres)


def counts_parameters(evidence: Evidence) -> tuple[Parameter, ...]:
    """The box, and the starts: the best checkpoint's own mean is near what scale can reach."""
    mean = evidence.own[:, 0] / evidence.own.sum(axis=1)
    logit = np.log(mean / (1 - mean))
    best, reach = float(logit.max()), float(np.log(np.ptp(logit) + 1.0))
    spread = float(np.median(np.log(evidence.own.sum(axis=1))))
    return (
        Parameter("top", best - 5.0, best + 30.0, best, best + 3.0),
        Parameter("A", -14.0, 8.0, -3.0, reach),
        Parameter("alpha", 0.01, 2.0, 0.1, 0.8),
        Parameter("B", -14.0, 8.0, -3.0, reach),
        Parameter("beta", 0.01, 2.0, 0.1, 0.8),
        Parameter("ceiling", -14.0, 0.0, -2.0, 0.0),
        Parameter("spread", -9.0, 18.0, spread - 1.0, spread + 1.0),
        Parameter("kappa", -1.0, 3.0, -0.8, 0.5),
        Parameter("bend", -0.7, 2.5, 0.0, 1.0),
    )


def _rises(table: Table, x: Array) -> tuple[Array, Array, Array]:
    """Sums over a table of ln G(x + count) - ln G(x), and its two derivatives in x, [S, M]."""
    start = x[:, table.checkpoint]
    return (
        table.sums(log_gamma_ratio(start, table.count)),
        table.sums(digamma_difference(start, table.count)),
        table.sums(trigamma_difference(start, table.count)),
    )


def _non_negative(curvature: Array) -> Array:
    """Symmetric 2 by 2 matrices [S, 2, 2, M] with each eigenvalue replaced by its size."""
    values, vectors = np.linalg.eigh(np.moveaxis(curvature, -1, 1))
    sized = (vectors * np.abs(values)[..., None, :]) @ vectors.swapaxes(-1, -2)
    return np.moveaxis(sized, 1, -1)


def _prior(theta: Array) -> tuple[Array, Array, Array]:
    """Minus the log prior [S], its slope and its curvature's diagonal [S, P]."""
    slope, curvature = np.zeros_like(theta), np.zeros_like(theta)
    value = np.zeros(len(theta))
    mean, deviation = EXPONENT_PRIOR
    for at in (2, 4):
        gap = (np.log(theta[:, at]) - mean) / deviation
        value += gap**2 / 2
        slope[:, at] = gap / (deviation * theta[:, at])
        curvature[:, at] = 1 / (deviation * theta[:, at]) ** 2
    for at, (mean, deviation) in ((5, CEILING_PRIOR), (7, KAPPA_PRIOR), (8, BEND_PRIOR)):
        value += ((theta[:, at] - mean) / deviation) ** 2 / 2
        slope[:, at] = (theta[:, at] - mean) / deviation**2
        curvature[:, at] = 1 / deviation**2
    return value, slope, curvature
