"""The shipped model's samples are those of the golden file, token by token."""

from __future__ import annotations

import json

import pytest

from tests.golden import PATH, PROMPTS, SETTINGS, sample_golden


@pytest.fixture(scope="module")
def sampled() -> dict[str, list[list[list[int]]]]:
    return sample_golden()


@pytest.mark.parametrize("name", SETTINGS)
def test_samples_are_golden(name: str, sampled: dict[str, list[list[list[int]]]]) -> None:
    golden = json.loads(PATH.read_text())
    assert len(golden[name]) == len(PROMPTS)
    assert sampled[name] == golden[name]
