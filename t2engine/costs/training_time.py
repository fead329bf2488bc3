"""Seconds of one optimiser step: forward, backward, AdamW, of the model family that a study trains.

    seconds = FLOPs / F + bytes / B + c_0 + c_1 layers + c_2 features + c_3 logits + c_4 scores
    F       = peak t/(t + t_half) h/(h + h_half)        t tokens of the step, h hidden_size

features are tokens x layers x hidden_size, which norms, rotations and activations go over; logits
tokens x vocab_size, for the loss; scores tokens x sequence_len x heads x layers, for attention.

Shapes: S steps.
Units:  seconds; FLOPs and bytes per second; FLOPs and bytes are metering's.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from t2engine import metering
from t2engine.costs.step_time import PositiveNumbers
from t2engine.costs.steps import Array
from t2engine.schema import ModelConfig


@dataclass(frozen=True)
class TrainingRates(PositiveNumbers):
    """The numbers of the model. All positive."""

    flops_per_second: float
    half_tokens: float
    half_features: float
    bytes_per_second: float
    step_seconds: float
    layer_seconds: float
    feature_seconds: float
    logit_seconds: float
    score_seconds: float


@dataclass(frozen=True)
class TrainingTable:
    """Optimiser steps as columns of numbers [S]."""

    flops: Array
    bytes: Array
    tokens: Array
    hidden_size: Array
    num_layers: Array
    features: Array
    logits: Array
    scores: Array

    def take(self, index: NDArray[np.int64]) -> TrainingTable:
        return TrainingTable(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def tabulate_training(models: list[ModelConfig], batches: list[tuple[int, int]]) -> TrainingTable:
    """batches: rows and tokens of each row."""
    rows = []
    for config, (batch_size, sequence_len) in zip(models, batches, strict=True):
        tokens = batch_size * sequence_len
        layers = config.num_layers
        rows.append(
            (
                metering.training_flops(config, batch_size, sequence_len),
                metering.training_bytes(config),
                tokens,
                config.hidden_size,
                layers,
                tokens * layers * config.hidden_size,
                tokens * config.vocab_size,
                tokens * sequence_len * config.num_heads * layers,
            )
        )
    return TrainingTable(*np.array(rows, float).T)


def training_seconds(rates: TrainingRates, steps: TrainingTable) -> Array:
    """[S]"""
    flops_per_second = (
        rates.flops_per_second
        * (steps.tokens / (steps.tokens + rates.half_tokens))
        * (steps.hidden_size / (steps.hidden_size + rates.half_features))
    )
    return np.asarray(
        steps.flops / flops_per_second
        + steps.bytes / rates.bytes_per_second
        + rates.step_seconds
        + rates.layer_seconds * steps.num_layers
        + rates.feature_seconds * steps.features
        + rates.logit_seconds * steps.logits
        + rates.score_seconds * steps.scores
    )
