"""The counts law: ability sets how success is spread over questions, fitted to counts directly.

    loss(N, D) = A / N^alpha + B / D^beta           latent, without unit and without constant
    eta = top - loss^(1 / bend),   s = 1 / (1 + exp(-eta))
    mu = ceiling s,   nu = spread s^kappa
    p_i ~ Beta(mu nu, (1 - mu) nu),   pass@k = 1 - B(a, b + k) / B(a, b)

The Beta link of Approach 2 in one stage: the loss is latent, found by the likelihood of num_correct
of num_samples itself, and needs no task NLL. Two things differ from Approach 2. `bend` lies between
a sum (1: what N and D each cost in log-odds adds up) and a bottleneck (large: only the worse of the
two counts). ln nu is linear in ln s and not in the loss: the same where success is rare, and with
kappa >= -1 both mu and a = mu nu rise with ability, so pass@k is monotone in N, D and k everywhere.

How much a checkpoint counts. Real checkpoints differ from any law of N and D by more than sampling
does. That difference is taken to be as large on the scale that is planned with, pass@k over
SAMPLES_OF_INTEREST, at every checkpoint: `discrepancy`. With v_m the sampling variance of
checkpoint m's own pass@k (mean over these k), its log-likelihood has the weight
v_m / (v_m + discrepancy^2), and discrepancy is such that the weighted deviances sum to their
degrees of freedom, 2 M - 9. Data that follow the law get discrepancy 0: maximum likelihood.

A gold NLL beside the counts is left out. Tied to the latent loss by a fitted affine link and
weighted by the link's own misfit, it takes the shipped ladder's held-out error of pass@k from .142
to .129 at unseen compute, but from .042 to .048 at unseen overtraining; a link of the logarithms
gives .141 and .044.

Units:  N parameters, D training tokens, k samples per question.
Shapes: M checkpoints; predictions broadcast.
Raises: ValueError for fewer than 10 checkpoints, 3 different N or D, no success or no failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from t2engine.laws.chinchilla import ChinchillaLaw
from t2engine.laws.counts_likelihood import (
    FAINTEST,
    MEAN_MARGIN,
    NAMES,
    CountsLikelihood,
    counts_likelihood,
    counts_parameters,
)
from t2engine.laws.evidence import Evidence, check_outcomes
from t2engine.laws.fitting import Batch, Fit, Parameter, best_of, minimise_batch, random_starts
from t2engine.laws.gamma import Array, digamma_difference, log_beta_ratio
from t2engine.laws.law import FitReport, check_checkpoints, report_of

SAMPLES_OF_INTEREST = np.unique(np.round(10 ** (np.arange(13) / 4)))  # 1, 2, 3, 6, ... 1000
NUM_STARTS = 24
SCREENED, SCREENED_STARTS = 60, 3  # checkpoints that starts are tried on, and starts kept
SCREENED_DISCREPANCY = 0.02  # of pass@k, while starts are tried
REWEIGHTINGS = 20
# Its square times the objective, some 1e-8, is the decrease left: log-likelihoods of millions of
# samples are sums of terms of 1e7 and have no further digit.
SLOPE_TOLERANCE = 1e-5
SETTLED = 1e-3  # relative change of the discrepancy


@dataclass(frozen=True)
class CountsLaw:
    """`covariance` is of `vector`, empty where it was not estimated; `fit` None likewise."""

    training: ChinchillaLaw  # the latent loss, E = 0
    top: float
    ceiling: float
    spread: float
    kappa: float
    bend: float = 1.0
    discrepancy: float = 0.0  # of pass@k, between checkpoints and the law
    covariance: tuple[tuple[float, ...], ...] = ()
    fit: FitReport | None = None

    name = "counts"

    @property
    def vector(self) -> Array:
        """theta with ln A and ln B at N = D = 1: the parameters as they are fitted, [9]."""
        r, loss = self.bend, self.training
        powers = np.array([np.log(loss.A), loss.alpha, np.log(loss.B), loss.beta]) / r
        logs = np.log([self.ceiling, self.spread])
        return np.array([self.top, *powers, *logs, self.kappa, np.log(r)])

    def ability(self, N: ArrayLike, D: ArrayLike) -> Array:
        """The log-odds of s."""
        return self.top - self.training.loss(N, D) ** (1 / self.bend)

    def link(self, ability: ArrayLike) -> tuple[Array, Array]:
        """a and b of the Beta distribution of p at an ability."""
        log_s = np.maximum(-np.logaddexp(0.0, -np.asarray(ability, float)), FAINTEST)
        mean = np.minimum(self.ceiling * np.exp(log_s), 1 - MEAN_MARGIN)
        concentration = self.spread * np.exp(self.kappa * log_s)
        return np.asarray(mean * concentration, float), np.asarray(
            (1 - mean) * concentration, float
        )

    def spread_at(self, N: ArrayLike, D: ArrayLike) -> tuple[Array, Array]:
        return self.link(self.ability(N, D))

    def pass_at_ability(self, ability: ArrayLike, k: ArrayLike) -> Array:
        a, b = self.link(ability)
        return np.asarray(-np.expm1(log_beta_ratio(a, b, k)), float)

    def pass_at_k(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        return self.pass_at_ability(self.ability(N, D), k)

    def merit(self, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Array:
        a, b = self.link(self.ability(N, D))
        return -log_beta_ratio(a, b, k)

    def draws(self, num_draws: int, seed: int = 0) -> Array:
        """Parameter vectors from the normal approximation of the likelihood, [num_draws, 9]."""
        if not self.covariance:
            raise ValueError("this law has no covariance: fit it, or use bands from a bootstrap")
        values, axes = np.linalg.eigh(np.array(self.covariance))
        rng = np.random.default_rng(seed)
        normal = rng.normal(size=(num_draws, values.size)) * np.sqrt(np.maximum(values, 0.0))
        return np.asarray(self.vector + normal @ axes.T, float)


def law_of(vector: Array) -> CountsLaw:
    top, log_A, alpha, log_B, beta, log_ceiling, log_spread, kappa, log_bend = map(float, vector)
    bend = float(np.exp(log_bend))
    training = ChinchillaLaw(
        0.0, float(np.exp(bend * log_A)), bend * alpha, float(np.exp(bend * log_B)), bend * beta
    )
    return CountsLaw(
        training, top, float(np.exp(log_ceiling)), float(np.exp(log_spread)), kappa, bend
    )


def check_evidence(evidence: Evidence) -> None:
    check_checkpoints("the counts law", evidence.N, evidence.D, least=len(NAMES) + 1)
    check_outcomes(evidence)


def fit_counts(evidence: Evidence, *, num_starts: int = NUM_STARTS, seed: int = 0) -> CountsLaw:
    """`num_agreeing` of the report counts among the starts kept after screening."""
    check_evidence(evidence)
    likelihood, parameters = counts_likelihood(evidence), counts_parameters(evidence)
    variance = sampling_variance(likelihood)
    weight, discrepancy, settled = np.ones(variance.size), 0.0, False
    starts = _screened_starts(evidence, parameters, num_starts, seed)
    batch = _minimise(likelihood, parameters, starts, weight)
    for _ in range(REWEIGHTINGS):
        best = batch.values[np.argmin(batch.objective)]
        found = _discrepancy(likelihood, best, variance)
        settled = abs(found - discrepancy) <= SETTLED * found
        if settled:
            break
        discrepancy = found
        weight = variance / (variance + discrepancy**2)
        batch = _minimise(likelihood, parameters, batch.values, weight)
    fit = best_of(batch, parameters)
    hit = tuple(x for x in fit.bounds_hit if x != "ceiling" or fit.values[5] < 0)
    fit = replace(fit, converged=fit.converged and settled, bounds_hit=hit)
    return _law(likelihood, fit, weight, discrepancy)


def _minimise(
    likelihood: CountsLikelihood, parameters: Sequence[Parameter], starts: Array, weight: Array
) -> Batch:
    return minimise_batch(
        likelihood, parameters, starts, weights=weight, slope_tolerance=SLOPE_TOLERANCE
    )


def _screened_starts(
    evidence: Evidence, parameters: Sequence[Parameter], num_starts: int, seed: int
) -> Array:
    """The best optima that random starts find on a few checkpoints spread over all compute."""
    order = np.lexsort((evidence.D, evidence.N * evidence.D))
    step = -(-order.size // SCREENED)
    few = np.zeros(order.size, bool)
    few[order[::-step]] = True
    likelihood = counts_likelihood(evidence.select(few), evidence)
    variance = sampling_variance(likelihood)
    weight = variance / (variance + SCREENED_DISCREPANCY**2)
    starts = random_starts(parameters, num_starts, seed)
    batch = _minimise(likelihood, parameters, starts, weight)
    return batch.values[np.argsort(batch.objective)[:SCREENED_STARTS]]


def _law(likelihood: CountsLikelihood, fit: Fit, weight: Array, discrepancy: float) -> CountsLaw:
    theta = np.array(fit.values)
    _, _, hessian = likelihood(theta[None], weight[None])
    turn = likelihood.uncentring()
    covariance = turn @ np.linalg.pinv(hessian[0], hermitian=True) @ turn.T
    law = law_of(turn @ theta)
    evidence = likelihood.evidence
    report = report_of(
        fit,
        rmse=discrepancy,
        num_points=int(evidence.num_questions.sum()),
        N=evidence.N,
        D=evidence.D,
        k=SAMPLES_OF_INTEREST,
    )
    return replace(
        law,
        discrepancy=discrepancy,
        covariance=tuple(map(tuple, covariance.tolist())),
        fit=report,
    )


def sampling_variance(likelihood: CountsLikelihood) -> Array:
    """Of every checkpoint's own pass@k, the mean over SAMPLES_OF_INTEREST, [M]."""
    a, b = likelihood.evidence.own.T
    shape = np.log(np.stack([a / (a + b), a + b]))[None]
    _, _, information = likelihood.deviance(shape)
    information = np.moveaxis(information[0], -1, 0)  # [M, 2, 2]
    information += 1e-9 * np.trace(information, axis1=1, axis2=2)[:, None, None] * np.eye(2)
    slopes = pass_slopes(a, b)  # [M, K, 2]
    spread = np.einsum("mki,mij,mkj->mk", slopes, np.linalg.inv(information), slopes)
    return np.asarray(spread.mean(axis=1), float)


def pass_slopes(a: Array, b: Array) -> Array:
    """Of pass@k over (ln mu, ln nu) at SAMPLES_OF_INTEREST, [M, K, 2]."""
    a, b, k = a[:, None], b[:, None], SAMPLES_OF_INTEREST
    fail = np.exp(log_beta_ratio(a, b, k))
    both = digamma_difference(a + b, k)
    by_a, by_b = fail * both, fail * (both - digamma_difference(b, k))
    return np.stack([a * (by_a - by_b), a * by_a + b * by_b], axis=-1)


def _discrepancy(likelihood: CountsLikelihood, theta: Array, variance: Array) -> float:
    """The one at which weighted deviances sum to 2 M - 9; 0 where they already sum to less."""
    shape, _ = likelihood.link(theta[None])
    twice = 2 * likelihood.deviance(shape)[0][0]
    wanted = max(2 * twice.size - len(NAMES), 1)

    def excess(square: float) -> float:
        return float((twice * variance / (variance + square)).sum()) - wanted

    if excess(0.0) <= 0:
        return 0.0
    low, high = 1e-12, 1.0
    for _ in range(100):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return float(np.sqrt(high))
