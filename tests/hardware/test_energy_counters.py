"""The counters count what they should, once, through every turn; what cannot be read says why."""

from __future__ import annotations

import errno
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from t2engine.hardware.energy_counters import find_counter
from tests.hardware.fakes import Nvml, Powercap

UUID = "GPU-0b2d"


@pytest.fixture
def powercap(tmp_path):
    """One package with all the parts that there are, the platform, and the package once more."""
    made = Powercap(tmp_path / "powercap")
    made.zone("intel-rapl:0", "package-0", 5_000_000)
    made.zone("intel-rapl:0:0", "core")
    made.zone("intel-rapl:0:1", "uncore")
    made.zone("intel-rapl:0:2", "dram")
    made.zone("intel-rapl:1", "psys")
    made.zone("intel-rapl-mmio:0", "package-0")
    (made.root / "intel-rapl").mkdir()  # the control type, which has no counter
    return made


def counter_of(powercap):
    counter, reason = find_counter("cpu", powercap=powercap.root)
    assert reason is None
    return counter


def test_package_and_memory_are_counted_and_nothing_twice(powercap):
    counter = counter_of(powercap)
    before = counter.read()
    for place, directory in enumerate(sorted(path.name for path in powercap.root.glob("*:*"))):
        powercap.advance(directory, 10.0**place)
    order = sorted(path.name for path in powercap.root.glob("*:*"))
    want = 10.0 ** order.index("intel-rapl:0") + 10.0 ** order.index("intel-rapl:0:2")
    assert counter.read() - before == want
    assert counter.name == "RAPL package-0+dram"


def test_without_memory_the_package_is_counted(tmp_path):
    powercap = Powercap(tmp_path)
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "core")
    counter = counter_of(powercap)
    powercap.advance("intel-rapl:0", 3.25)
    assert counter.read() == 3.25
    assert counter.name == "RAPL package-0"


def test_packages_add_up(tmp_path):
    powercap = Powercap(tmp_path)
    for package in (0, 1):
        powercap.zone(f"intel-rapl:{package}", f"package-{package}")
        powercap.zone(f"intel-rapl:{package}:0", "dram")
    counter = counter_of(powercap)
    for place, path in enumerate(powercap.root.iterdir()):
        powercap.advance(path.name, 10.0**place)
    assert counter.read() == 1111
    assert counter.name == "RAPL package-0+dram+package-1+dram"


def test_a_counter_that_turns_goes_on(powercap):
    """Ten turns, seen in steps of a third of one; only the package turns."""
    counter = counter_of(powercap)
    step = powercap.range_uj // 3 / 1e6
    for count in range(1, 31):
        powercap.advance("intel-rapl:0", step)
        assert counter.read() == pytest.approx(count * step, rel=1e-12)


def test_a_turn_between_reads_is_not_missed_at_any_power_there_is(powercap):
    counter = counter_of(powercap)
    powercap.advance("intel-rapl:0", 999 * counter.longest_seconds)
    assert counter.read() == pytest.approx(999 * counter.longest_seconds)


def test_no_powercap_directory(tmp_path):
    counter, reason = find_counter("cpu", powercap=tmp_path / "powercap")
    assert counter is None
    assert reason == (f"no powercap directory {tmp_path}/powercap: the kernel exposes no RAPL here")


def test_no_zone_in_a_virtual_machine(tmp_path):
    counter, reason = find_counter("cpu", powercap=tmp_path)
    assert counter is None
    assert reason.startswith(f"no RAPL package in {tmp_path}")


def refusing(path_end, number):
    """Path.read_text that the system refuses for one file: root may read what chmod forbids."""
    read_text = Path.read_text

    def read(self, *args, **kwargs):
        if str(self).endswith(path_end):
            raise OSError(number, "refused", str(self))
        return read_text(self, *args, **kwargs)

    return read


@pytest.mark.parametrize("zone", ["intel-rapl:0", "intel-rapl:0:2"])
def test_no_permission_says_which_file_and_how_to_mend_it(powercap, monkeypatch, zone):
    monkeypatch.setattr(Path, "read_text", refusing(f"{zone}/energy_uj", errno.EACCES))
    counter, reason = find_counter("cpu", powercap=powercap.root)
    assert counter is None
    assert f"no permission to read {powercap.root}/{zone}/energy_uj: run as root" in reason
    assert f"chmod a+r {powercap.root}/intel-rapl:*/energy_uj" in reason


def test_a_counter_without_data_says_so(powercap, monkeypatch):
    monkeypatch.setattr(Path, "read_text", refusing("intel-rapl:0/energy_uj", errno.ENODATA))
    counter, reason = find_counter("cpu", powercap=powercap.root)
    assert counter is None
    assert reason.startswith("RAPL cannot be read: ")
    assert "intel-rapl:0/energy_uj" in reason


def test_this_machine_has_a_counter_or_a_reason():
    for device in ("cpu", "cuda"):
        counter, reason = find_counter(device)
        assert (counter is None) == bool(reason)
        if counter is not None:
            assert counter.read() <= counter.read()


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cpu:0", ""])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'cuda:N', got"):
        find_counter(device)


# ---- NVML ------------------------------------------------------------------------------------


def test_nvml_counts_the_gpu_with_the_uuid_in_joules():
    nvml = Nvml({"GPU-other": 7, UUID: 1_000})
    counter, reason = find_counter("cuda:0", uuid=UUID, nvml=nvml)
    assert reason is None
    assert counter.name == "NVML Model d"
    assert math.isinf(counter.longest_seconds)
    before = counter.read()
    nvml.millijoules[UUID] += 2_500
    nvml.millijoules["GPU-other"] += 1_000_000
    assert counter.read() - before == 2.5


def test_nvml_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_counter("cuda", uuid=UUID) == (
        None,
        "pynvml is not installed: pip install 't2engine[gpu]'",
    )


@pytest.mark.parametrize(
    ("nvml", "words"),
    [
        (Nvml({UUID: 0}, refuses="nvmlInit"), f"NVML finds no GPU {UUID}: Not Supported"),
        (Nvml({}), f"NVML finds no GPU {UUID}: Not Found"),
        (
            Nvml({UUID: 0}, refuses="nvmlDeviceGetTotalEnergyConsumption"),
            "NVML reads no energy counter of Model d: Not Supported",
        ),
    ],
)
def test_what_nvml_refuses_is_the_reason(nvml, words):
    assert find_counter("cuda", uuid=UUID, nvml=nvml) == (None, words)


@pytest.mark.parametrize(
    ("device", "uuid"), [("cuda", "GPU-b"), ("cuda:0", "GPU-a"), ("cuda:1", "GPU-b")]
)
def test_torch_says_which_gpu_it_is(device, uuid, monkeypatch):
    """CUDA's order is not NVML's."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    properties = [SimpleNamespace(uuid="a"), SimpleNamespace(uuid="b")]
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties.__getitem__)
    counter, _ = find_counter(device, nvml=Nvml({"GPU-b": 2, "GPU-a": 1}))
    assert counter.gpu.handle == uuid
    assert find_counter("cuda:2", nvml=Nvml({})) == (
        None,
        "there is no cuda:2: torch finds 2 NVIDIA GPUs, numbered from 0",
    )


def test_torch_finds_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_counter("cuda", nvml=Nvml({UUID: 0})) == (None, "torch finds no NVIDIA GPU")
