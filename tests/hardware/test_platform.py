"""Both platforms behind one interface, and a whole small calibration on each."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from t2engine.costs.ladder import ladder_shape
from t2engine.costs.measurements import Measurements
from t2engine.costs.steps import DecodeStep, PrefillStep, tabulate
from t2engine.engine.device_stage import BUCKETS
from t2engine.hardware import calibration, energy_points, platform, rounds
from t2engine.hardware.calibration import Settings, fitting_effort, measure_machine
from t2engine.hardware.design import FULL, GPU_FULL, GPU_QUICK, QUICK, Effort
from t2engine.hardware.device_probes import Sizes, device_probes
from t2engine.hardware.device_steps import DeviceSteps
from t2engine.hardware.load import GpuLoad
from t2engine.hardware.native_steps import NativeSteps
from t2engine.hardware.platform import (
    CpuPlatform,
    DevicePlatform,
    Platform,
    choose_platform,
    default_precisions,
    device_load,
    why_device_busy,
    why_not,
)
from t2engine.schema import Precision
from tests.hardware.test_energy_points import IDLE_WATTS, Counter

CPU = torch.device("cpu")
FLOAT = Precision("float32", "float32")
TINY = Effort(
    shapes=((32, 64), (48, 96)),
    training_shapes=((32, 64),),
    training_batches=((2, 8),),
    steps_of_shape=3,
    sharing_prompts=(20,),
    sharing_samples=(3,),
    step_seconds=0.01,
    seconds=0.1,
    fewest_rounds=2,
    most_rounds=2,
    store_bytes=1 << 24,
    most_samples=4,
    suffixes=(1, 4),
    prompts=(5, 9),
    sharing_shape=(32, 64),
    call_seconds=0.05,
)
SIZES = Sizes(
    rows=(4, 256),
    widths=(32, 1024),
    read_bytes=(1 << 12, 1 << 14),
    prompts=(9,),
    samples=(3,),
    suffix_len=5,
    vocabularies=(50,),
    drawing_rows=4,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small probes, and rounds that are too short to see anybody's load."""
    monkeypatch.setattr(rounds, "find_load_meter", lambda: (None, "not asked"))
    monkeypatch.setattr(platform, "device_probes", lambda t, d: device_probes(t, d, SIZES))
    monkeypatch.setattr(platform, "cpu_probes", lambda t, _: device_probes(t, CPU, SIZES))


def make(kind: str) -> Platform:
    if kind == "cpu":
        return CpuPlatform(replace(TINY, call_seconds=None), threads=1)
    return DevicePlatform(TINY, 1, CPU)


def calibrate(kind: str, folder: Path) -> Measurements:
    told: list[float] = []
    settings = Settings(precisions=(FLOAT,))
    measured, _ = measure_machine(
        settings, folder / "partial", lambda share, _: told.append(share), make(kind)
    )
    assert told
    return measured


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["cpu", "device"])
def test_a_calibration(kind: str, tmp_path: Path):
    measured = calibrate(kind, tmp_path)
    kinds = {point.kind for point in measured.points}
    assert kinds >= {"launch", "product", "read", "decode", "prefill", "training", "sample"}
    assert measured.precisions() == ["float32/float32"]
    assert all(len(p.seconds) >= 1 and min(p.seconds) > 0 for p in measured.points)
    assert len(measured.of_kind("decode", "prefill")) >= 10
    assert measured.chunk_tokens == (256 if kind == "cpu" else 2048)
    assert measured.row_buckets == (() if kind == "cpu" else BUCKETS)
    assert measured.machine["memory_available_bytes"] > 0
    assert measured.conditions["device"] == "cpu"
    json.dumps([measured.machine, measured.conditions, measured.energy])
    table = tabulate(
        [measured.model_of(p) for p in measured.of_kind("decode", "prefill")],
        [p.step for p in measured.of_kind("decode", "prefill")],
        measured.chunk_tokens,
        measured.row_buckets,
    )
    assert (table.flops > 0).all()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["cpu", "device"])
def test_joules_are_counted_where_there_is_a_counter(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    counter = Counter(time.perf_counter, resolution_seconds=1e-4)
    monkeypatch.setattr(calibration, "find_counter", lambda _: (counter, None))
    monkeypatch.setattr(energy_points, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(energy_points, "WINDOW_SECONDS", 0.05)
    measured = calibrate(kind, tmp_path)
    assert measured.energy["counter"] == "a counter"
    points = measured.energy["points"]
    assert {point["kind"] for point in points} == {"decode", "prefill"}
    assert all(set(point["shape"]) >= {"model", "precision"} for point in points)
    for point in points:
        assert point["joules"] == pytest.approx(IDLE_WATTS * point["seconds"], rel=0.2)
        assert point["repeats"] >= 1


@pytest.mark.parametrize("kind", ["cpu", "device"])
def test_steps_of_either_platform(kind: str):
    bench = make(kind).steps(ladder_shape(32, 64), FLOAT, 4)
    assert isinstance(bench, NativeSteps if kind == "cpu" else DeviceSteps)
    window = Window()
    for step in (DecodeStep(4, 1, 20, 3), PrefillStep(20)):
        assert bench.seconds(step) > 0
        assert bench.repeat(step, 1e-3, window) >= 1
    assert window.opened == 2


class Window:
    opened = 0

    def __enter__(self) -> None:
        self.opened += 1

    def __exit__(self, *_: object) -> None: ...


def test_models_that_do_not_fit_are_left_out_and_the_least_are_not():
    chosen = DevicePlatform(GPU_FULL, 1, CPU)
    precisions = platform.PRECISIONS["cuda"]
    chosen.memory_bytes = 80 << 30
    effort = fitting_effort(chosen, precisions)
    assert 7 <= len(effort.shapes) < len(GPU_FULL.shapes)
    assert chosen.needed_bytes(effort, precisions) <= 0.8 * (80 << 30)
    chosen.memory_bytes = 140 << 30
    assert len(fitting_effort(chosen, precisions[:1]).shapes) == len(GPU_FULL.shapes)
    chosen.memory_bytes = 1 << 30
    with pytest.raises(ValueError, match=r"80% of what is free; end other programs"):
        fitting_effort(chosen, precisions)


def test_defaults_of_the_processors():
    assert default_precisions("cpu", quick=True) == (FLOAT,)
    assert len(default_precisions("cpu", quick=False)) == 4
    assert Settings().chosen == default_precisions("cpu", quick=False)
    for quick, effort in ((True, QUICK), (False, FULL)):
        chosen = choose_platform("cpu", (FLOAT,), 1, quick)
        assert (chosen.name, chosen.effort) == ("cpu", effort)
    assert GPU_QUICK.seconds < GPU_FULL.seconds


@pytest.mark.parametrize("cache", ["float16", "int4"])
def test_a_cache_that_the_processors_do_not_have_is_refused(cache: str):
    with pytest.raises(ValueError, match=f"float32/{cache}: the cache must be float32 or bfloat16"):
        choose_platform("cpu", (Precision("float32", cache),), 1, quick=True)


def test_a_gpus_cache_is_of_its_weights_type():
    assert why_not("cuda", Precision("bfloat16", "float32")) == "the cache must be bfloat16 on cuda"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused():
    with pytest.raises(ValueError, match='got "cuda" without a GPU'):
        choose_platform("cuda", (), 1, quick=True)
    with pytest.raises(ValueError, match='device must be "cpu" or "cuda", got \'tpu\''):
        default_precisions("tpu", quick=True)


@pytest.mark.parametrize(
    ("load", "busy"), [(GpuLoad(0.0, 0), False), (GpuLoad(0.0, 1), False), (GpuLoad(0.5, 0), True)]
)
def test_others_on_the_gpu(load: GpuLoad, busy: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "gpu_load", lambda: (load, None))
    reason = why_device_busy(device_load("cuda"))
    assert (reason is not None) == busy
    assert reason is None or reason.startswith("the GPU had a kernel running for 50%")


def test_a_load_that_is_not_known_is_not_busy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "gpu_load", lambda: (None, "no NVML"))
    assert device_load("cuda") == {"utilisation": None, "others": None, "reason": "no NVML"}
    assert why_device_busy(device_load("cuda")) is None
    assert device_load("cpu") is None
