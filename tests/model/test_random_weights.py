from __future__ import annotations

from pathlib import Path

import pytest
import torch

from t2engine.model.config import read_config
from t2engine.model.random_weights import SPREAD, RandomWeights
from t2engine.model.transformer import Transformer
from t2engine.model.weights import open_weights
from t2engine.schema import Precision
from tests.model.tiny import TINY_MODELS, write_tiny_model


@pytest.mark.parametrize("name", TINY_MODELS)
def test_the_shapes_are_those_of_a_checkpoint(tmp_path: Path, name: str) -> None:
    family, overrides = TINY_MODELS[name]
    directory = write_tiny_model(tmp_path, family, **overrides)
    config = read_config(directory)
    files, random = open_weights(directory, config), RandomWeights(config)
    assert random.names == files.names
    for tensor in files.names:
        assert random.load(tensor).shape == files.load(tensor).shape, tensor


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_transformer_of_random_weights_runs(tiny_dir: Path, dtype: str) -> None:
    config = read_config(tiny_dir)
    model = Transformer(config, RandomWeights(config), 1, Precision(dtype))
    model.reserve(4)
    hidden = model.forward(
        torch.tensor([1, 2, 3]), torch.arange(3), lambda layer, q, k, v: torch.zeros_like(q)
    )
    assert model.logits(hidden).isfinite().all()


def test_matrices_spread_and_norms_are_one(tiny_dir: Path) -> None:
    weights = RandomWeights(read_config(tiny_dir))
    matrix = weights.load("layers.0.up.weight")
    assert matrix.std().item() == pytest.approx(SPREAD, rel=0.05)
    assert abs(matrix.mean().item()) < 0.05 * SPREAD
    assert weights.load("final_norm.weight").eq(1).all()


def test_packed_weights_are_the_plain_ones(tiny_dir: Path) -> None:
    weights = RandomWeights(read_config(tiny_dir))
    for name in ("layers.0.qkv.weight", "lm_head"):
        packed = weights.load_packed(name, torch.float32, threads=1)
        assert torch.equal(packed.unpack(), weights.load(name))
