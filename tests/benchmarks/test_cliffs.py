"""Neighbouring shapes are run as they are named, and compared with each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import cliffs
from t2engine.schema import FLOAT32, Precision

TINY = replace(
    cliffs.BASE,
    vocab_size=100,
    hidden_size=32,
    intermediate_size=48,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    rotary_dim=16,
)


@pytest.mark.parametrize("precision", [FLOAT32, Precision("int8", "bfloat16")], ids=str)
def test_every_shape_of_a_family_is_measured(precision: Precision) -> None:
    shapes = {str(k): cliffs.Shape(TINY, 5, k, 1) for k in (1, 3)}
    points = cliffs.measure_family(shapes, precision, rounds=2)
    assert points.keys() == shapes.keys()
    for found in points.values():
        assert found["seconds"] > 0
        assert found["floor_seconds"] > 0
        assert found["ratio"] == found["seconds"] / found["floor_seconds"]


def test_a_cliff_is_the_larger_ratio_of_neighbours() -> None:
    points = {"a": {"ratio": 2.0}, "b": {"ratio": 1.0}, "c": {"ratio": 3.0}}
    assert cliffs.cliffs(points) == {"a to b": 2.0, "b to c": 3.0}


def test_families_are_of_models_there_can_be() -> None:
    for family in cliffs.FAMILIES.values():
        for shape in family.values():
            assert shape.config.num_heads % shape.config.num_kv_heads == 0
            assert shape.config.rotary_dim == shape.config.head_dim
