"""Approach 1's optimum as the root of one decreasing function of one variable.

    L = E + A N^-alpha + B D^-beta + G k^-gamma,   6 N D and N (s k + p) paid for
    s = 2 Q T a sample's tokens, p = 2 Q P the prompt's, per parameter

Two budgets, over ln N:
    alpha A N^-alpha = beta B D^-beta + gamma G k^-gamma (s k + p) / (s k),   D, k at their limits
One budget is a geometric program, convex in the logarithms; over the price m = lambda N:
    D = (beta B / 6 m)^(1 / (1 + beta)),   k = (gamma G / s m)^(1 / (1 + gamma)),
    alpha A N^-alpha = m C / N,   N = C / (6 D + s k + p)
k below 1 is clipped to 1 and its tokens join p.

Units:  N parameters, D training tokens, k samples per question, budgets in FLOPs.
Source: T2's two budgets: Roberts et al., arXiv:2604.01411; geometric programs: Boyd et al. 2007.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from t2engine.costs.formula import Demand, FormulaCost
from t2engine.laws.approach1 import Approach1Law
from t2engine.plan.problem import Budget

WIDEST_LOG = 600.0  # bracket of a logarithm before anything overflows


@dataclass(frozen=True)
class Optimum:
    """`kkt_residual` is how far marginal gains are from balance, relative to N's gain."""

    N: float
    D: float
    k: float
    clipped: bool
    kkt_residual: float


@dataclass(frozen=True)
class _Terms:
    """Logarithms of alpha A, beta B, gamma G and of the prices 6, s and p."""

    law: Approach1Law
    size: float
    tokens: float
    samples: float
    train_price: float
    sample_price: float
    prompt_price: float  # p itself, which may be 0

    def gain_of_size(self, log_N: float) -> float:
        return self.size - self.law.alpha * log_N

    def gain_of_tokens(self, log_D: float) -> float:
        return self.tokens - self.law.beta * log_D

    def gain_of_samples(self, log_k: float) -> float:
        return self.samples - self.law.gamma * log_k


def solve_closed_form(
    law: Approach1Law, cost: FormulaCost, budget: Budget, demand: Demand
) -> Optimum:
    terms = _terms(law, cost, demand)
    if budget.total is not None:
        return _one_budget(terms, math.log(budget.total))
    assert budget.train is not None
    assert budget.inference is not None
    return _two_budgets(terms, math.log(budget.train), math.log(budget.inference))


def _terms(law: Approach1Law, cost: FormulaCost, demand: Demand) -> _Terms:
    powers = {"A": law.A, "alpha": law.alpha, "B": law.B, "beta": law.beta}
    powers |= {"G": law.G, "gamma": law.gamma}
    for name, value in powers.items():
        if not 0 < value < math.inf:
            raise ValueError(f"Approach 1's {name} must be above 0 to plan with, got {value:g}")
    serve = cost.serve_flops_per_parameter * demand.questions
    return _Terms(
        law=law,
        size=math.log(law.alpha) + math.log(law.A),
        tokens=math.log(law.beta) + math.log(law.B),
        samples=math.log(law.gamma) + math.log(law.G),
        train_price=math.log(cost.train_flops_per_parameter),
        sample_price=math.log(serve * demand.output_tokens),
        prompt_price=serve * demand.prompt_tokens,
    )


def _two_budgets(terms: _Terms, log_train: float, log_serve: float) -> Optimum:
    def log_tokens(log_N: float) -> float:
        return log_train - terms.train_price - log_N

    def log_samples(log_N: float) -> float:
        left = math.exp(log_serve - log_N) - terms.prompt_price
        return math.log(left) - terms.sample_price

    def balance(log_N: float) -> float:
        """ln of N's gain over what D and k lose; falls in N."""
        at_k = log_samples(log_N)
        prompt = terms.prompt_price * math.exp(-terms.sample_price - at_k)
        lost = _log_add(
            terms.gain_of_tokens(log_tokens(log_N)),
            terms.gain_of_samples(at_k) + math.log1p(prompt),
        )
        return terms.gain_of_size(log_N) - lost

    largest = log_serve - math.log(math.exp(terms.sample_price) + terms.prompt_price)
    if balance(largest) >= 0:
        return Optimum(math.exp(largest), math.exp(log_tokens(largest)), 1.0, True, 0.0)
    log_N = _root(balance, largest - WIDEST_LOG, largest)
    left = abs(math.expm1(balance(log_N)))
    return Optimum(
        math.exp(log_N), math.exp(log_tokens(log_N)), math.exp(log_samples(log_N)), False, left
    )


def _one_budget(terms: _Terms, log_C: float) -> Optimum:
    law = terms.law

    def log_tokens(price: float) -> float:
        return (terms.tokens - terms.train_price - price) / (1 + law.beta)

    def log_samples(price: float) -> float:
        return (terms.samples - terms.sample_price - price) / (1 + law.gamma)

    def solve(spend: Callable[[float], float]) -> tuple[float, float]:
        """The price at which the gains balance, given the logarithm of C / N, and the residual."""

        def balance(price: float) -> float:
            log_N = log_C - spend(price)
            return terms.gain_of_size(log_N) - price - spend(price)

        price = _root(balance, -WIDEST_LOG, WIDEST_LOG)
        return price, abs(math.expm1(balance(price)))

    def spend_free(price: float) -> float:
        both = _log_add(
            terms.train_price + log_tokens(price), terms.sample_price + log_samples(price)
        )
        return _log_add(both, _log(terms.prompt_price))

    def spend_clipped(price: float) -> float:
        served = math.exp(terms.sample_price) + terms.prompt_price
        return _log_add(terms.train_price + log_tokens(price), math.log(served))

    price, residual = solve(spend_free)
    clipped = log_samples(price) < 0
    if clipped:
        price, residual = solve(spend_clipped)
    log_N = log_C - (spend_clipped(price) if clipped else spend_free(price))
    k = 1.0 if clipped else math.exp(log_samples(price))
    return Optimum(math.exp(log_N), math.exp(log_tokens(price)), k, clipped, residual)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, to the last bit: bisection cannot miss."""
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return min((low, high), key=lambda x: abs(falling(x)))
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _log_add(x: float, y: float) -> float:
    larger, smaller = max(x, y), min(x, y)
    return larger + math.log1p(math.exp(smaller - larger))
