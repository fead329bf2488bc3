"""Costs with training or serving so many times as dear: what a plan is tried against.

    train = x train of the costs given           serve = y serve of the costs given

The formula costs stay formula costs, with other FLOPs a parameter. Seconds and bytes, of limits on
latency and memory, are those of the costs given: prices change, machines do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2engine.costs.formula import Array, CostModel, Demand, FormulaCost, Spread


@dataclass(frozen=True)
class ScaledCost:
    cost: CostModel
    training: float = 1.0
    serving: float = 1.0

    @property
    def unit(self) -> str:
        return self.cost.unit

    @property
    def measured(self) -> bool:
        return self.cost.measured

    @property
    def description(self) -> str:
        changed = f"training x{self.training:g}, serving x{self.serving:g}"
        return f"{self.cost.description}; {changed}"

    def train(self, N: ArrayLike, D: ArrayLike) -> Array:
        return self.training * self.cost.train(N, D)

    def serve(self, N: ArrayLike, k: ArrayLike, demand: Demand) -> Array:
        return self.serving * self.cost.serve(N, k, demand)

    def tokens_for(self, N: ArrayLike, budget: ArrayLike) -> Array:
        return self.cost.tokens_for(N, np.asarray(budget, float) / self.training)

    def samples_for(self, N: ArrayLike, budget: ArrayLike, demand: Demand) -> Array:
        return self.cost.samples_for(N, np.asarray(budget, float) / self.serving, demand)

    def samples_within(self, N: ArrayLike, seconds: float, demand: Demand) -> Array:
        return self.cost.samples_within(N, seconds, demand)

    def memory_bytes(self, N: ArrayLike, k: ArrayLike, demand: Demand) -> Array:
        return self.cost.memory_bytes(N, k, demand)

    def spread(self, N: float, D: float, k: float, demand: Demand) -> Spread | None:
        found = self.cost.spread(N, D, k, demand)
        if found is None:
            return None
        train, serve = (
            (times * low, times * high)
            for times, (low, high) in ((self.training, found.train), (self.serving, found.serve))
        )
        return Spread(train, serve, found.notes)


def scaled_cost(cost: CostModel, *, training: float = 1.0, serving: float = 1.0) -> CostModel:
    if isinstance(cost, FormulaCost):
        return FormulaCost(
            training * cost.train_flops_per_parameter, serving * cost.serve_flops_per_parameter
        )
    return ScaledCost(cost, training, serving)
