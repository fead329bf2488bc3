"""Inference-aware Chinchilla: the cheapest model of a given loss when it will also be served.

    minimise 6 N D + 2 N D_inf   subject to   E + A / N^alpha + B / D^beta = loss

With x the share of loss - E that N is left with, N = (A / (x (loss - E)))^(1 / alpha) and
D = (B / ((1 - x) (loss - E)))^(1 / beta), the optimum is the one root of

    alpha x / (beta (1 - x)) * 6 D / (6 D + 2 D_inf) = 1

whose left side rises in x. D_inf = 0 is the compute-optimal model. A baseline of the same kind as
compute-optimal training: it knows what serving costs, and nothing of k.

Units:  N parameters, D training tokens, D_inf tokens served over the model's life, FLOPs.
Raises: ValueError for a loss not above E, or negative inference_tokens.
Source: Sardana et al., arXiv:2401.00448.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from t2engine.laws.chinchilla import ChinchillaLaw

TRAIN_FLOPS, SERVE_FLOPS = 6.0, 2.0  # per parameter and token: Kaplan et al., arXiv:2001.08361
WIDEST_LOG_ODDS = 700.0  # of x, before exp overflows
# Approach 3 of Hoffmann et al., arXiv:2203.15556, in the digits that Sardana et al. use.
HOFFMANN = ChinchillaLaw(E=1.69, A=406.4, alpha=0.336, B=410.7, beta=0.283)


@dataclass(frozen=True)
class ServedModel:
    """`flops` is for training and serving together."""

    N: float
    D: float
    flops: float


@dataclass(frozen=True)
class InferenceAware:
    """The cheapest model of a loss beside the compute-optimal one, both served as much."""

    cheapest: ServedModel
    compute_optimal: ServedModel
    loss: float
    inference_tokens: float

    @property
    def saving(self) -> float:
        """The share of the compute-optimal model's training and serving that is not needed."""
        return 1 - self.cheapest.flops / self.compute_optimal.flops


def plan_inference_aware(
    law: ChinchillaLaw, loss: float, inference_tokens: float
) -> InferenceAware:
    _check_law(law)
    if not law.E < loss < math.inf:
        raise ValueError(
            f"loss must lie above E = {law.E:g}, which no model goes below, got {loss:g}"
        )
    if not 0 <= inference_tokens < math.inf:
        raise ValueError(f"inference_tokens must be 0 or more and finite, got {inference_tokens:g}")
    models = [_cheapest(law, loss, tokens) for tokens in (inference_tokens, 0.0)]
    cheapest, compute_optimal = (
        ServedModel(N, D, N * (TRAIN_FLOPS * D + SERVE_FLOPS * inference_tokens)) for N, D in models
    )
    return InferenceAware(cheapest, compute_optimal, loss, inference_tokens)


def compute_optimal_loss(law: ChinchillaLaw, N: float) -> float:
    """The loss of a compute-optimal model of N parameters: alpha A / N^alpha = beta B / D^beta."""
    _check_law(law)
    if not 0 < N < math.inf:
        raise ValueError(f"N must be above 0 and finite, got {N:g}")
    return law.E + law.A * N**-law.alpha * (1 + law.alpha / law.beta)


def _cheapest(law: ChinchillaLaw, loss: float, inference_tokens: float) -> tuple[float, float]:
    """N and D."""
    log_gap = math.log(loss - law.E)

    def log_tokens(log_odds: float) -> float:
        log_rest = -_log1p_exp(log_odds)  # ln (1 - x)
        return (math.log(law.B) - log_rest - log_gap) / law.beta

    def excess(log_odds: float) -> float:
        served = SERVE_FLOPS * inference_tokens
        log_ratio = math.log(served / TRAIN_FLOPS) - log_tokens(log_odds) if served else -math.inf
        return math.log(law.alpha / law.beta) + log_odds - _log1p_exp(log_ratio)

    low, high = -WIDEST_LOG_ODDS, WIDEST_LOG_ODDS
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    log_share = -_log1p_exp(-middle)
    log_N = (math.log(law.A) - log_share - log_gap) / law.alpha
    return math.exp(log_N), math.exp(log_tokens(middle))


def _log1p_exp(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _check_law(law: ChinchillaLaw) -> None:
    for name in ("A", "alpha", "B", "beta"):
        value = getattr(law, name)
        if not 0 < value < math.inf:
            raise ValueError(f"the law's {name} must be above 0 and finite, got {value:g}")
