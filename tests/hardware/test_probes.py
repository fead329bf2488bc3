from __future__ import annotations

from collections import Counter

import pytest

from t2engine.hardware import probes
from t2engine.hardware.probes import READ_BYTES, ROWS, cpu_probes


@pytest.fixture
def small(monkeypatch) -> None:
    monkeypatch.setattr(probes, "READ_BYTES", (1 << 20, 1 << 22))
    monkeypatch.setattr(probes, "VOCABULARIES", (320,))
    monkeypatch.setattr(probes, "PROMPTS", (64,))


@pytest.mark.usefixtures("small")
def test_every_kind_is_timed_with_its_own_counts() -> None:
    found = list(cpu_probes(("float32", "int8"), threads=1))
    kinds = Counter(probe.kind for probe in found)
    assert set(kinds) == {
        *("launch", "product", "read", "copy"),
        *("prefix_attention", "suffix_attention", "draw"),
    }
    for probe in found:
        if probe.kind != "product" or probe.shape["width"] == 256:
            assert 0 < probe.seconds() < 10, probe.shape
    for probe in found:
        if probe.kind == "product":
            rows, width = probe.shape["rows"], probe.shape["width"]
            assert probe.cost.flops == 2 * rows * width**2
        if probe.kind == "read":
            assert probe.cost.bytes == probe.shape["bytes"]
        if probe.kind == "prefix_attention":
            heads = probes.HEADS * probes.HEAD_DIM
            assert probe.cost.flops == 4 * heads * 64 * probe.shape["samples"]
    assert len({(p.kind, *p.shape.items()) for p in found}) == len(found)


def test_few_rows_and_memory_are_among_them() -> None:
    assert min(ROWS) == 1
    assert max(READ_BYTES) >= 1 << 28
