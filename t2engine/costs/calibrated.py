"""Training and serving priced by calibrated machines, behind the planner's CostModel.

    train(N, D)      D (seconds of an optimiser step) / (tokens of the step)
    serve(N, k)      Q prefill(P) + (Q k (T - 1) / rows) step(rows) + Q k (a sample's host work)

`rows` samples are decoded at once: as many as there are, up to max_num_seqs; they are of rows / k
prompts, or of one. The first token of a sample comes from its prompt's logits. Training and serving
may be priced on different machines. A model of N parameters is a rung of costs.ladder; between
rungs, and between the k of a grid, prices are interpolated in logarithms.

Units:  the tariffs': seconds, money or joules.
Shapes: every argument broadcasts; M rungs, K values of k.
Raises: ValueError where a profile lacks what is asked, or a number is not above 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2engine import metering
from t2engine.costs.formula import Demand, Spread
from t2engine.costs.ladder import ladder
from t2engine.costs.measurements import show_precision
from t2engine.costs.predictions import NODES, MachineCosts
from t2engine.costs.spread import (
    memory_words,
    nearest_shapes,
    outside_words,
    spread_of_steps,
    spread_of_training,
)
from t2engine.costs.step_time import step_seconds
from t2engine.costs.steps import DecodeStep, PrefillStep, Step
from t2engine.costs.tariff import BY_THE_SECOND, Tariff
from t2engine.costs.training_time import tabulate_training, training_seconds
from t2engine.schema import ModelConfig

Array = NDArray[np.float64]

K_GRID = np.concatenate([np.logspace(0, 4, 25), np.logspace(4.5, 9, 10)])
FLATTEST = 1e-12  # rise of ln price between two k of the grid
RUNGS_OF_FACTOR = 1.15  # rungs of the ladder that are nearer than this factor in N are left out


@dataclass(frozen=True)
class Training:
    """How the study trains: rows of an optimiser step, and tokens of a row."""

    batch_size: int = 32
    sequence_len: int = 128


@dataclass(frozen=True)
class CalibratedCost:
    """serving, training: machines, each with the precision and vocabulary its models have, and
    what each charges, in one unit."""

    serving: MachineCosts
    training: MachineCosts
    serving_tariff: Tariff = BY_THE_SECOND
    training_tariff: Tariff = BY_THE_SECOND
    max_num_seqs: int = 256
    recipe: Training = Training()
    tables: dict[Demand, tuple[Array, Array, Array]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.max_num_seqs < 1:
            raise ValueError(f"max_num_seqs must be at least 1, got {self.max_num_seqs}")
        units = self.serving_tariff.unit, self.training_tariff.unit
        if len(set(units)) > 1:
            raise ValueError(f"both tariffs must be in one unit, got {units[0]} and {units[1]}")
        if self.training.profile.training is None:
            raise ValueError(
                f"the profile of {self.training.profile.machine} has no training steps; "
                "calibrate again"
            )

    @property
    def unit(self) -> str:
        return self.serving_tariff.unit

    @property
    def measured(self) -> bool:
        return True

    @property
    def description(self) -> str:
        """The machines, and what was assumed of models and batches."""
        serving, training = self.serving.profile.machine, self.training.profile.machine
        return (
            f"measured: serving in {show_precision(self.serving.precision)} on {serving}, up to "
            f"{self.max_num_seqs} samples at once; training on "
            f"{'the same' if training == serving else training}, steps of "
            f"{self.recipe.batch_size} x {self.recipe.sequence_len} tokens"
        )

    # ---- the planner's interface --------------------------------------------------------------

    def train(self, N: ArrayLike, D: ArrayLike) -> Array:
        return np.asarray(np.asarray(D, float) * self.token_price(N), float)

    def tokens_for(self, N: ArrayLike, budget: ArrayLike) -> Array:
        return np.asarray(np.asarray(budget, float) / self.token_price(N), float)

    def serve(self, N: ArrayLike, k: ArrayLike, demand: Demand) -> Array:
        return interpolate(*self.table(demand), N, k)

    def samples_for(self, N: ArrayLike, budget: ArrayLike, demand: Demand) -> Array:
        """Below one sample's price, k is as much below 1 as the budget is below the price."""
        log_N, log_k, log_price = self.table(demand)
        at_N = interpolate_rows(log_N, log_price, np.log(np.asarray(N, float)))
        with np.errstate(divide="ignore"):
            log_budget = np.log(np.maximum(np.asarray(budget, float), 0.0))
        x = np.clip(log_budget, at_N[..., 0], at_N[..., -1])
        above = np.clip(np.count_nonzero(at_N < x[..., None], axis=-1), 1, len(log_k) - 1)
        at_N = np.broadcast_to(at_N, (*x.shape, len(log_k)))
        low, high = pick(at_N, above - 1), pick(at_N, above)
        share = (x - low) / np.maximum(high - low, FLATTEST)
        found = (1 - share) * log_k[above - 1] + share * log_k[above]
        return np.exp(found + np.minimum(0.0, log_budget - at_N[..., 0]))

    def spread(self, N: float, D: float, k: float, demand: Demand) -> Spread:
        """Intervals of the seconds, priced; FLOPs and bytes are counts."""
        models = nearest_shapes(N, self.serving.vocab_size)
        steps, times = self.decoding(np.array([k]), demand)
        host = demand.questions * k * self.serving.sample_seconds
        serve = spread_of_steps(
            *(self.serving, self.serving_tariff, models, [*steps, prompt_step(demand)]),
            *([*times[:, 0].tolist(), demand.questions], host),
        )
        shapes = nearest_shapes(N, self.training.vocab_size)
        batch = self.recipe.batch_size, self.recipe.sequence_len
        train = spread_of_training(self.training, self.training_tariff, shapes, batch)
        price = float(self.train(N, D)), float(self.serve(N, k, demand))
        largest = max(steps, key=lambda step: step.suffix_len)  # type: ignore[union-attr]
        notes = (
            *outside_words("training", self.training, N, train.beyond),
            *outside_words("serving", self.serving, N, serve.beyond),
            *memory_words(self.serving, models[-1], largest),
        )
        return Spread(
            train=(price[0] * train.low, price[0] * train.high),
            serve=(price[1] * serve.low, price[1] * serve.high),
            notes=tuple(dict.fromkeys(notes)),
        )

    def samples_within(self, N: ArrayLike, seconds: float, demand: Demand) -> Array:
        alone = replace(demand, questions=1.0)
        return self.by_the_second.samples_for(N, seconds, alone)

    def memory_bytes(self, N: ArrayLike, k: ArrayLike, demand: Demand) -> Array:
        """Of as many samples as are decoded at once, at their full length."""
        log_N, shapes = sparse_ladder(self.serving.vocab_size)
        rows = np.clip(demand.questions * K_GRID, 1, self.max_num_seqs)
        prompts = np.clip(rows / K_GRID, 1, rows)
        tokens = prompts * max(demand.prompt_tokens, 1.0) + rows * demand.output_tokens
        precision = self.serving.precision
        needed = [
            metering.weight_bytes(config, precision)
            + metering.key_value_bytes(config, 1, precision) * tokens
            for config in shapes
        ]
        return interpolate(log_N, np.log(K_GRID), np.log(needed), N, k)

    # ---- how ----------------------------------------------------------------------------------

    @cached_property
    def by_the_second(self) -> CalibratedCost:
        return replace(self, serving_tariff=BY_THE_SECOND, training_tariff=BY_THE_SECOND, tables={})

    def token_price(self, N: ArrayLike) -> Array:
        log_N, log_price = self.token_prices
        at_N = np.log(np.asarray(N, float))
        return np.exp(interpolate_rows(log_N, log_price, at_N)[..., 0])

    @cached_property
    def token_prices(self) -> tuple[Array, Array]:
        """ln N [M] and ln of the price of training on one token [M, 1]."""
        log_N, shapes = sparse_ladder(self.training.vocab_size)
        fit = self.training.profile.training
        assert fit is not None, "checked when this was made"
        batch = (self.recipe.batch_size, self.recipe.sequence_len)
        table = tabulate_training(shapes, [batch] * len(shapes))
        seconds = training_seconds(fit.rates, table)
        price = self.training_tariff.price(seconds, table.flops, table.bytes)
        return log_N, np.log(price / (batch[0] * batch[1]))[:, None]

    def table(self, demand: Demand) -> tuple[Array, Array, Array]:
        """ln N [M], ln k [K] and ln of the price of the whole demand [M, K]."""
        # with as many questions as are decoded at once, further ones cost what the others do
        few = replace(demand, questions=min(demand.questions, float(self.max_num_seqs)))
        if few not in self.tables:
            log_N, shapes = sparse_ladder(self.serving.vocab_size)
            prices = self.prices_of(shapes, K_GRID, few)
            rising = np.maximum.accumulate(prices, axis=1)
            self.tables[few] = log_N, np.log(K_GRID), np.log(rising)
        log_N, log_k, log_price = self.tables[few]
        return log_N, log_k, log_price + math.log(demand.questions / few.questions)

    def prices_of(self, models: list[ModelConfig], k: Array, demand: Demand) -> Array:
        """Of the whole demand with k samples a question [M, K]."""
        steps, times = self.decoding(k, demand)
        prices = self.step_prices(models, [*steps, prompt_step(demand)])
        decoding = (times * prices[:, :-1].reshape(-1, *times.shape)).sum(1)
        host = self.serving_tariff.price(self.serving.sample_seconds, 0.0, 0.0)
        return np.asarray(demand.questions * (prices[:, -1:] + k * host) + decoding, float)

    def decoding(self, k: Array, demand: Demand) -> tuple[list[Step], Array]:
        """The decode steps that stand for all, [NODES K], and how often each is made [NODES, K]."""
        samples = demand.questions * k
        rows = np.clip(samples, 1, self.max_num_seqs)
        prompts = np.clip(rows / k, 1, rows)
        steps = max(demand.output_tokens - 1, 0.0)
        prefix = max(demand.prompt_tokens, 1.0)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        lengths = 1 + (nodes + 1) / 2 * max(steps - 1, 0.0)
        shapes: list[Step] = [
            DecodeStep(n, p, prefix, length)
            for length in lengths.tolist()
            for n, p in zip(rows.tolist(), prompts.tolist(), strict=True)
        ]
        return shapes, weights[:, None] / 2 * (samples * steps / rows)

    def step_prices(self, models: list[ModelConfig], steps: list[Step]) -> Array:
        """Every model's of every step [M, S]."""
        costs = self.serving
        once = list(dict.fromkeys(steps))  # beyond max_num_seqs samples a question, all are one
        each = [(config, costs.precision) for config in models for _ in once]
        table = costs.profile.measured.tabulate(each, once * len(models))
        seconds = step_seconds(costs.fit.rates, table)
        place_of = {step: i for i, step in enumerate(once)}
        prices = self.serving_tariff.price(seconds, table.flops, table.bytes)
        return prices.reshape(len(models), -1)[:, [place_of[step] for step in steps]]


def prompt_step(demand: Demand) -> PrefillStep:
    return PrefillStep(math.ceil(max(demand.prompt_tokens, 1.0)))


def interpolate(log_N: Array, log_k: Array, log_values: Array, N: ArrayLike, k: ArrayLike) -> Array:
    """exp of log_values [M, K] at points; k is held within the grid."""
    row, row_share = place(log_N, np.log(np.asarray(N, float)))
    at_k = np.clip(np.log(np.asarray(k, float)), log_k[0], log_k[-1])
    column, share = place(log_k, at_k)

    def at_column(index: NDArray[np.int64]) -> Array:
        low, high = log_values[row - 1, index], log_values[row, index]
        return np.asarray((1 - row_share) * low + row_share * high, float)

    return np.asarray(np.exp((1 - share) * at_column(column - 1) + share * at_column(column)))


def place(grid: Array, at: Array) -> tuple[NDArray[np.int64], Array]:
    """The index of the grid's point above, and how far `at` has come towards it from the last."""
    above = np.clip(np.searchsorted(grid, at), 1, len(grid) - 1)
    return above, np.asarray((at - grid[above - 1]) / (grid[above] - grid[above - 1]), float)


def pick(values: Array, index: NDArray[np.int64]) -> Array:
    """values [..., K] at index [...]."""
    return np.take_along_axis(values, index[..., None], axis=-1)[..., 0]


def sparse_ladder(vocab_size: int) -> tuple[Array, list[ModelConfig]]:
    """ln N and shapes of rungs that are not too near to each other."""
    chosen: list[tuple[int, ModelConfig]] = []
    for rung in ladder(vocab_size):
        if not chosen or rung[0] >= RUNGS_OF_FACTOR * chosen[-1][0]:
            chosen.append(rung)
    return np.log([N for N, _ in chosen]), [config for _, config in chosen]


def interpolate_rows(log_N: Array, values: Array, at: Array) -> Array:
    """values [M, K] at points [...]: [..., K]; beyond an end as between the two rungs there."""
    above, share = place(log_N, at)
    return np.asarray((1 - share)[..., None] * values[above - 1] + share[..., None] * values[above])
