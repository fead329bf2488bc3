"""The ladder: which models are trained, on how many tokens, by which recipe.

Shape from N: four layers of 11 h^2 parameters (attention 3, SwiGLU 8) and a tiny vocabulary make
N = 44 h^2, so hidden_size h is the multiple of 16 nearest sqrt(N / 44). Heads have 16 features;
key/value heads are at most half as many. The peak learning rate goes as 1/sqrt(N), thus as 1/h.

Units: N parameters, embeddings included; D training tokens, padding not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from t2engine.metering import parameter_count
from t2engine.schema import ModelConfig
from t2engine.study.tokenizer import VOCAB_SIZE

NUM_LAYERS = 4
HEAD_DIM = 16
CONTEXT_LEN = 64

SIZES = (45_000, 100_000, 280_000, 720_000)  # N aimed at
TOKENS = (250_000, 500_000, 1_000_000, 2_000_000, 4_000_000)
OVERTRAINED = (45_000, 8_000_000)  # one run more: D/N = 182


@dataclass(frozen=True)
class Recipe:
    """How every model of a ladder is trained."""

    questions_per_step: int = 32
    peak_learning_rate: float = 0.004  # at reference_N
    reference_N: int = 186_048  # noqa: N815
    warmup_share: float = 0.05  # of D, linear from zero; then linear to zero at D
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.1  # of matrices only
    gradient_clip: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Run:
    """One model to train."""

    name: str
    N: int
    D: int  # tokens to reach; the last batch may pass it
    config: ModelConfig
    recipe: Recipe


def shape(target_N: int) -> ModelConfig:
    """The model of the family whose size is nearest to `target_N`."""
    hidden_size = HEAD_DIM * max(2, round(math.sqrt(target_N / (11 * NUM_LAYERS)) / HEAD_DIM))
    num_heads = hidden_size // HEAD_DIM
    num_kv_heads = max(m for m in range(1, num_heads // 2 + 1) if num_heads % m == 0)
    return ModelConfig(
        family="llama",
        vocab_size=VOCAB_SIZE,
        hidden_size=hidden_size,
        intermediate_size=16 * round(8 * hidden_size / 3 / 16),
        num_layers=NUM_LAYERS,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=HEAD_DIM,
        max_context_len=CONTEXT_LEN,
        norm_eps=1e-5,
        rope_theta=10_000.0,
        rotary_dim=HEAD_DIM,
        tied_embeddings=True,
    )


def learning_rate(recipe: Recipe, N: int, done: float) -> float:
    """The learning rate of a model of N parameters after a share `done` of its tokens."""
    peak = recipe.peak_learning_rate * math.sqrt(recipe.reference_N / N)
    if done < recipe.warmup_share:
        return peak * done / recipe.warmup_share
    return peak * max(0.0, 1 - done) / (1 - recipe.warmup_share)


def build_ladder(recipe: Recipe | None = None) -> list[Run]:
    """Every size with every token count and the overtrained run, dearest first."""
    pairs = [(size, D) for size in SIZES for D in TOKENS] + [OVERTRAINED]
    runs = [build_run(size, D, recipe or Recipe()) for size, D in pairs]
    return sorted(runs, key=lambda run: run.N * run.D, reverse=True)


def build_run(target_N: int, D: int, recipe: Recipe) -> Run:
    config = shape(target_N)
    N = parameter_count(config)
    return Run(f"arithmetic-{short(N)}-{short(D)}", N, D, config, recipe)


def short(count: int) -> str:
    """45000 is 45k, 1500000 is 1.5M."""
    if count >= 1_000_000:
        return f"{count / 1e6:.3g}M"
    return f"{count / 1e3:.3g}k"
