"""The ladder: which models are trained, on how many tokens, by which recipe.

Every number of a run follows from its N and D by a rule that is fixed before anything is trained:

    shape            the rung of `costs/ladder.py` nearest to N, with a context of 64
    questions a step 32 sqrt(D / 1M), to the nearest 16, at least 16: longer runs bear larger steps
    learning rate    peak 0.004 sqrt(186k / N), linear from zero over 5 % of D, then linearly to
                     zero at D: a short run is not a long one cut off

Units: N parameters, embeddings included; D training tokens, padding not counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from t2engine.costs.ladder import rungs
from t2engine.metering import parameter_count
from t2engine.schema import ModelConfig
from t2engine.study.tokenizer import VOCAB_SIZE

CONTEXT_LEN = 64
FINETUNING_RATE = 0.25  # of the peak learning rate of training


@dataclass(frozen=True)
class Recipe:
    """How every model of a ladder is trained."""

    questions_per_step: int = 32  # at reference_D
    questions_step: int = 16  # which questions per step are a multiple of
    reference_D: int = 1_000_000  # noqa: N815
    peak_learning_rate: float = 0.004  # at reference_N
    reference_N: int = 186_048  # noqa: N815
    warmup_share: float = 0.05  # of D, linear from zero; then linear to zero at D
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.1  # of matrices only
    gradient_clip: float = 1.0
    dtype: str = "float32"  # of products and activations; weights and moments are float32
    seed: int = 0


@dataclass(frozen=True)
class Run:
    """One model to train on a mixture of tasks, a question of each in turn.

    base: the directory of the model whose weights it starts from, where it is fine-tuned; D are
    the tokens of fine-tuning then.
    """

    name: str
    N: int
    D: int  # tokens to reach; the last batch may pass it
    tasks: tuple[str, ...]
    config: ModelConfig
    recipe: Recipe
    base: str | None = None

    @property
    def questions_per_step(self) -> int:
        recipe = self.recipe
        wanted = recipe.questions_per_step * math.sqrt(self.D / recipe.reference_D)
        return recipe.questions_step * max(1, round(wanted / recipe.questions_step))


def shape(target_N: float) -> ModelConfig:
    """The model of the family whose size is nearest to `target_N`, in ln N."""
    lower, upper, place = rungs(target_N, VOCAB_SIZE)
    return replace(upper if place > 0.5 else lower, max_context_len=CONTEXT_LEN)


def learning_rate(recipe: Recipe, N: int, done: float) -> float:
    """The learning rate of a model of N parameters after a share `done` of its tokens."""
    peak = recipe.peak_learning_rate * math.sqrt(recipe.reference_N / N)
    if done < recipe.warmup_share:
        return peak * done / recipe.warmup_share
    return peak * max(0.0, 1 - done) / (1 - recipe.warmup_share)


def build_ladder(
    pairs: Iterable[tuple[float, int]], tasks: tuple[str, ...], recipe: Recipe
) -> list[Run]:
    """A run for every (N aimed at, D), dearest first."""
    runs = [build_run(N, D, tasks, recipe) for N, D in pairs]
    return sorted(runs, key=lambda run: run.N * run.D, reverse=True)


def build_run(target_N: float, D: int, tasks: tuple[str, ...], recipe: Recipe) -> Run:
    config = shape(target_N)
    N = parameter_count(config)
    return Run(f"{short(N)}-{short(D)}", N, D, tasks, config, recipe)


def finetuned(run: Run, base: str, task: str, tokens: int) -> Run:
    """A run that goes on from a trained model, on one task, with its moments anew."""
    rate = FINETUNING_RATE * run.recipe.peak_learning_rate
    recipe = replace(run.recipe, peak_learning_rate=rate)
    return replace(run, D=tokens, tasks=(task,), recipe=recipe, base=base)


def short(count: int) -> str:
    """45000 is 45k, 1500000 is 1.5M."""
    if count >= 1_000_000:
        return f"{count / 1e6:.3g}M"
    return f"{count / 1e3:.3g}k"
