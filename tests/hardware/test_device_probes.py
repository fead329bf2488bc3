"""The probes of a device on the CPU's tensors: what they do, and what they say they do."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from t2engine.hardware import device_probes as module
from t2engine.hardware.device_probes import (
    HEAD_DIM,
    HEADS,
    KEY_HEADS,
    DeviceProbe,
    Sizes,
    attention_inputs,
    device_probes,
)
from t2engine.hardware.probes import Probe
from t2engine.ops import slab_attention
from t2engine.schema import Cost

CPU = torch.device("cpu")
TINY = Sizes(
    rows=(1, 5),
    widths=(16, 32),
    read_bytes=(1 << 12, 1 << 13, 1 << 15),
    prompts=(9, 40),
    samples=(1, 3),
    suffix_len=70,
    vocabularies=(50,),
    drawing_rows=4,
)
KINDS = {"launch", "product", "read", "copy", "prefix_attention", "suffix_attention", "draw"}


@pytest.fixture(scope="module")
def probes() -> list[Probe]:
    return list(device_probes(("float32",), CPU, TINY))


def test_there_is_one_of_each_kind_and_size(probes: list[Probe]):
    kinds = Counter(probe.kind for probe in probes)
    assert set(kinds) == KINDS
    assert kinds["product"] == 4
    assert kinds["prefix_attention"] == 4
    names = {(probe.kind, *probe.shape.items()) for probe in probes}
    assert len(names) == len(probes)


def test_every_probe_takes_time(probes: list[Probe]):
    assert all(0 < probe.seconds() < 10 for probe in probes)


def test_flops_are_those_that_torch_counts(probes: list[Probe]):
    for probe in probes:
        if probe.kind == "product" or probe.kind.endswith("attention"):
            with FlopCounterMode(display=False) as counter:
                probe.call()
            assert counter.get_total_flops() == probe.cost.flops > 0, probe.shape


def test_bytes_of_a_product_are_its_operands_and_its_result():
    [probe] = [
        p
        for p in device_probes(("float32", "bfloat16"), CPU, TINY)
        if p.kind == "product" and p.shape == {"dtype": "bfloat16", "rows": 5, "width": 32}
    ]
    assert probe.cost.bytes == 2 * (5 * 32 + 32 * 32 + 5 * 32)
    out = probe.call()
    assert isinstance(out, torch.Tensor)
    assert (out.shape, out.dtype) == ((5, 32), torch.bfloat16)


def test_memory_is_read_piece_by_piece_and_a_cache_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
):
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(torch, "sum", lambda x: seen.append((x.data_ptr(), x.nbytes)))
    small, medium, whole = (p for p in module.memory_probes(CPU, TINY) if p.kind == "read")
    for probe, pieces in ((small, 1), (medium, 4), (whole, 1)):
        seen.clear()
        for _ in range(2 * pieces):
            probe.call()
        assert {size for _, size in seen} == {probe.cost.bytes}
        assert seen[:pieces] == seen[pieces:]
        assert len(set(seen)) == pieces


def test_a_copy_counts_both_ways():
    [probe] = [p for p in module.memory_probes(CPU, TINY) if p.kind == "copy"]
    assert probe.cost == Cost(0, 1 << 15)


@pytest.mark.parametrize(("prompt_len", "own"), [(40, 0), (0, 70), (0, 64), (0, 1)])
def test_attention_is_torchs_over_the_keys_it_says(prompt_len: int, own: int):
    samples, generator = 3, torch.Generator().manual_seed(1)
    inputs = attention_inputs(samples, prompt_len, own, torch.float32, CPU, generator)
    q, prefix_k, prefix_v, _, _, slab_k, slab_v, row_chunk, *_ = inputs

    def keys(prefix: torch.Tensor, slab: torch.Tensor) -> torch.Tensor:  # [samples, H_kv, keys, D]
        if prompt_len:
            return prefix[None].expand(samples, -1, -1, -1)
        pieces = [slab[row_chunk[:, row]].transpose(0, 1).flatten(1, 2) for row in range(samples)]
        return torch.stack(pieces)[:, :, :own]

    want = scaled_dot_product_attention(
        q.transpose(0, 1).flatten(1, 2)[:, :, None],
        keys(prefix_k, slab_k).repeat_interleave(HEADS // KEY_HEADS, 1),
        keys(prefix_v, slab_v).repeat_interleave(HEADS // KEY_HEADS, 1),
        scale=1 / math.sqrt(HEAD_DIM),
    )
    torch.testing.assert_close(slab_attention(*inputs), want[:, :, 0])


def test_on_a_gpu_calls_are_recorded_once_and_their_time_is_shared(
    monkeypatch: pytest.MonkeyPatch,
):
    records: list[object] = []
    times = iter([8e-3, 4e-3, 6e-3] * 10_000)
    monkeypatch.setattr(module, "record", lambda call: (records.append(call) or call, 4))
    monkeypatch.setattr(module, "elapsed_seconds", lambda run: next(times))
    monkeypatch.setattr(module, "VISIT_SECONDS", 0.0)
    probe = DeviceProbe("launch", {}, Cost(0, 0), lambda: None, torch.device("cuda"))
    assert probe.seconds() == 1e-3  # the better of two visits of four calls
    assert probe.seconds() == 1.5e-3
    assert records == [probe.call]
