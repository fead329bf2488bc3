"""What training and sampling a ladder's shapes cost, as the meter counts it.

    train = D train_token(N)                      padding and attention are in it
    serve = Q (prompt(N) + k T sample_token(N))   T: tokens of a gold answer and its end, their mean

A token's FLOPs are exact at the rungs and interpolated in ln N between them.

Units:  N parameters, D training tokens, k samples per question; FLOPs.
Shapes: [M] over rungs; arguments broadcast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2engine.costs.formula import Demand, FormulaCost
from t2engine.costs.ladder import ladder
from t2engine.laws.gamma import Array
from t2engine.metering import decode_flops, parameter_count, prefill_flops
from t2engine.study.ladder import shape
from t2engine.study.tokenizer import VOCAB_SIZE

FORMULA = FormulaCost()
RUNGS_BEYOND = 2.0  # plans may take rungs this many times below and above the ladder's sizes


@dataclass(frozen=True)
class LadderCost:
    """Tuples are over rungs in rising order of ln N; factors are over 6 N, 2 N and 2 N a token."""

    log_N: tuple[float, ...]  # noqa: N815
    train_factor: tuple[float, ...]
    sample_factor: tuple[float, ...]
    prompt_factor: tuple[float, ...]

    unit = "flops"
    measured = False
    description = "metered: FLOPs of this ladder's shapes"

    def at(self, N: ArrayLike, factors: tuple[float, ...]) -> Array:
        return np.asarray(np.interp(np.log(np.asarray(N, float)), self.log_N, factors), float)

    def train(self, N: ArrayLike, D: ArrayLike) -> Array:
        return FORMULA.train(N, D) * self.at(N, self.train_factor)

    def tokens_for(self, N: ArrayLike, budget: ArrayLike) -> Array:
        return FORMULA.tokens_for(N, budget) / self.at(N, self.train_factor)

    def serve(self, N: ArrayLike, k: ArrayLike, demand: Demand) -> Array:
        prompt, sample = self.of_a_question(N, demand)
        return np.asarray(demand.questions * (prompt + np.asarray(k, float) * sample), float)

    def samples_for(self, N: ArrayLike, budget: ArrayLike, demand: Demand) -> Array:
        prompt, sample = self.of_a_question(N, demand)
        return np.asarray((np.asarray(budget, float) / demand.questions - prompt) / sample, float)

    def of_a_question(self, N: ArrayLike, demand: Demand) -> tuple[Array, Array]:
        """Its prompt, and one sample."""
        token = FORMULA.serve_flops_per_parameter * np.asarray(N, float)
        prompt = demand.prompt_tokens * token * self.at(N, self.prompt_factor)
        return prompt, demand.output_tokens * token * self.at(N, self.sample_factor)

    def spread(self, N: float, D: float, k: float, demand: Demand) -> None:
        return None

    def samples_within(self, N: ArrayLike, seconds: float, demand: Demand) -> Array:
        return FORMULA.samples_within(N, seconds, demand)  # refuses: there are no seconds here

    def memory_bytes(self, N: ArrayLike, k: ArrayLike, demand: Demand) -> Array:
        return FORMULA.memory_bytes(N, k, demand)  # refuses likewise


def ladder_cost(
    records: Sequence[Mapping[str, float]], demand: Demand, sizes: Sequence[float]
) -> LadderCost:
    """records: N, D and FLOPs of the runs trained."""
    rungs = rungs_near(sizes)
    trained_N = np.array([record["N"] for record in records], float)
    padding = np.array([record["flops"] / (6 * record["N"] * record["D"]) for record in records])
    known = np.unique(trained_N)
    mean = np.array([padding[trained_N == N].mean() for N in known])
    prompt_len, output_len = round(demand.prompt_tokens), demand.output_tokens
    sample, prompt = [], []
    for N in rungs:
        config = shape(N)
        assert parameter_count(config) == N
        context = round(demand.prompt_tokens + output_len / 2)
        sample.append(decode_flops(config, context) / (2 * N))
        prompt.append(prefill_flops(config, prompt_len) / (2 * N * prompt_len))
    return LadderCost(
        log_N=tuple(np.log(rungs).tolist()),
        train_factor=tuple(np.interp(np.log(rungs), np.log(known), mean).tolist()),
        sample_factor=tuple(sample),
        prompt_factor=tuple(prompt),
    )


def rungs_near(sizes: Sequence[float]) -> list[float]:
    low, high = min(sizes) / RUNGS_BEYOND, max(sizes) * RUNGS_BEYOND
    return [float(N) for N, _ in ladder(VOCAB_SIZE) if low <= N <= high]
