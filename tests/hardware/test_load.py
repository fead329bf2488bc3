"""Others' time is told from this process's own, on a /proc of files and on the one there is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from t2engine.hardware.load import (
    GpuLoad,
    Load,
    LoadMeter,
    OtherProcess,
    describe,
    find_load_meter,
    gpu_load,
    is_busy,
)
from tests.hardware.fakes import OWN_PID, Clock, Nvml, Proc

STEAL, GUEST, IOWAIT = 7, 8, 4


@pytest.fixture
def proc(tmp_path):
    return Proc(tmp_path / "proc")


@pytest.fixture
def meter(proc):
    clock = Clock()
    made = LoadMeter(proc.root, clock=clock, sleep=clock.sleep)
    made.start()
    return made


def stop_after(meter, seconds):
    meter.sleep(seconds)
    return meter.stop()


def test_own_time_and_others_add_up(proc, meter):
    proc.start(7, "cc1plus", parent=1, seconds=500.0)
    meter.start()
    proc.run(OWN_PID, 3.0)
    proc.run(7, 2.0)
    load = stop_after(meter, 4.0)
    assert (load.own, load.others, load.steal) == (0.75, 0.5, 0.0)
    assert (load.cores, load.seconds) == (4, 4.0)
    assert load.heaviest == (OtherProcess(7, "cc1plus", 0.5),)


def test_an_idle_machine_has_no_load(proc, meter):
    proc.spend(IOWAIT, 3.0)  # waiting for a disk is not working
    assert stop_after(meter, 1.0) == Load(0.0, 0.0, cores=4, seconds=1.0)


def test_time_of_a_guest_is_not_counted_twice(proc, meter):
    proc.start(7, "qemu", parent=1)
    proc.run(7, 1.0)
    proc.spend(GUEST, 1.0)
    assert stop_after(meter, 1.0).others == 1.0


def test_stolen_time_is_kept_apart(proc, meter):
    proc.spend(STEAL, 1.0)
    load = stop_after(meter, 2.0)
    assert (load.others, load.steal) == (0.0, 0.5)


@pytest.mark.parametrize("fate", ["lives", "was reaped", "was reaped by its parent"])
def test_what_is_below_this_process_is_its_own(proc, meter, fate):
    """A child's child that used 2 s in the window, and much before."""
    proc.start(200, "pool", parent=OWN_PID)
    proc.start(201, "worker", parent=200, seconds=50.0)
    meter.start()
    proc.run(201, 2.0)
    if fate != "lives":
        proc.end(201, reaper=200)
    if fate == "was reaped by its parent":
        proc.end(200, reaper=OWN_PID)
    load = stop_after(meter, 1.0)
    assert (load.own, load.others) == (2.0, 0.0)
    assert load.heaviest == ()


@pytest.mark.parametrize("reaped", [False, True])
def test_a_child_of_this_window_is_own(proc, meter, reaped):
    proc.start(200, "nvcc", parent=OWN_PID)
    proc.run(200, 2.0)
    if reaped:
        proc.end(200, reaper=OWN_PID)
    load = stop_after(meter, 1.0)
    assert (load.own, load.others) == (2.0, 0.0)


def test_what_leaves_the_tree_meanwhile_is_own_until_the_next_window(proc, meter):
    proc.start(200, "shell", parent=OWN_PID)
    proc.start(201, "daemon", parent=200, seconds=50.0)
    meter.start()
    proc.end(200, reaper=OWN_PID)
    proc.start(201, "daemon", parent=1, seconds=50.0)  # its parent is gone
    proc.run(201, 2.0)
    assert stop_after(meter, 1.0).own == 2.0
    meter.start()
    proc.run(201, 2.0)
    assert stop_after(meter, 1.0).others == 2.0


def test_a_child_nobody_waits_for_does_not_take_from_the_rest(proc, meter):
    proc.start(200, "worker", parent=OWN_PID, seconds=50.0)
    meter.start()
    proc.run(OWN_PID, 1.0)
    proc.end(200, reaper=None)
    assert stop_after(meter, 1.0).own == 1.0


def test_a_pid_used_again_is_another_process(proc, meter):
    proc.start(7, "long", parent=1, seconds=90.0)
    meter.start()
    proc.end(7, reaper=1)
    proc.start(7, "new", parent=1, started=5000)
    proc.run(7, 1.0)
    assert stop_after(meter, 1.0).heaviest == (OtherProcess(7, "new", 1.0),)


def test_names_may_hold_anything(proc, meter):
    proc.start(7, "a) S 1 (b c", parent=1)
    proc.run(7, 1.0)
    assert stop_after(meter, 1.0).heaviest == (OtherProcess(7, "a) S 1 (b c", 1.0),)


def test_the_three_heaviest_are_named(proc, meter):
    for pid in (2, 3, 4, 5, 6):
        proc.start(pid, f"p{pid}", parent=1)
        proc.run(pid, pid / 10)
    load = stop_after(meter, 1.0)
    assert [other.pid for other in load.heaviest] == [6, 5, 4]
    assert describe(load) == (
        "others use 2.00 of 4 cores: p6 (pid 6) 0.60, p5 (pid 5) 0.50, p4 (pid 4) 0.40"
    )


def test_load_that_has_no_name_is_still_load(proc, meter):
    proc.spend(2, 1.0)
    assert describe(stop_after(meter, 1.0)) == (
        "others use 1.00 of 4 cores, by no process that is seen from here or still runs"
    )


def test_a_process_that_ends_while_it_is_read_is_left_out(proc, meter, monkeypatch):
    proc.start(7, "gone", parent=1)
    proc.start(8, "hidden", parent=1)
    read_text = Path.read_text

    def read(self, *args, **kwargs):
        if self.parent.name == "7":
            raise ProcessLookupError
        if self.parent.name == "8":
            raise PermissionError
        return read_text(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read)
    assert stop_after(meter, 1.0).others == 0.0


def test_a_window_shorter_than_the_ticks_see_is_refused(meter):
    with pytest.raises(ValueError, match=r"seconds must be at least 0\.1 to see the load, got 0"):
        meter.sample(0.05)


def test_a_tenth_of_the_cores_is_busy():
    assert not is_busy(Load(others=0.2, steal=0.0, cores=2))
    assert is_busy(Load(others=0.21, steal=0.0, cores=2))
    assert is_busy(Load(others=0.15, steal=0.1, cores=2)), "a host that takes time disturbs too"
    assert not is_busy(Load(others=0.21, steal=0.0, cores=4))


def test_steal_is_described():
    assert describe(Load(others=0.0, steal=0.5, cores=2)) == (
        "others use 0.00 of 2 cores; the host of this virtual machine takes 0.50"
    )


def test_a_load_is_plain_data():
    load = Load(1.0, 0.0, 2, heaviest=(OtherProcess(7, "cc1plus", 0.5),))
    assert json.loads(json.dumps(asdict(load)))["heaviest"] == [
        {"pid": 7, "name": "cc1plus", "cores": 0.5}
    ]


def test_without_proc_there_is_a_reason(tmp_path):
    meter, reason = find_load_meter(tmp_path)
    assert meter is None
    assert reason.startswith(f"no {tmp_path}/stat on ")
    assert "processes wanted to run in the last minute" in reason


# ---- the machine itself ----------------------------------------------------------------------

# Uses 0.3 s of processor time, says so, and waits to be ended.
BURN = """
import os, sys, time
while time.process_time() < 0.3: pass
print(os.getpid(), os.getppid(), flush=True)
sys.stdin.read()
"""
# The same in a child that has outlived its parent, and so left this process's tree.
LEAVE = f"""
import os
parent = os.getpid()
if os.fork(): os._exit(0)
while os.getppid() == parent: pass
{BURN}
"""


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("leaves", [False, True])
def test_a_process_that_burns_is_seen(leaves):
    """However busy the machine is, the process has used its 0.3 s when it says so."""
    meter, _ = find_load_meter()
    meter.start()
    command = [sys.executable, "-c", LEAVE if leaves else BURN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        pid, parent = map(int, process.stdout.readline().split())
        load = meter.stop()
        process.stdin.close()
    if parent == os.getpid():  # as the first process of a container this one inherits what leaves
        assert load.own * load.seconds > 0.28
        assert pid not in [other.pid for other in load.heaviest]
    else:
        assert leaves
        assert (load.others + load.steal) * load.seconds > 0.2


# ---- GPU -------------------------------------------------------------------------------------


def test_gpu_load_counts_other_processes():
    nvml = Nvml({"GPU-a": 0}, pids=[os.getpid(), 41, 42, 42], utilisation=30)
    assert gpu_load(0, uuid="GPU-a", nvml=nvml) == (GpuLoad(utilisation=0.3, others=2), None)


@pytest.mark.parametrize(
    ("nvml", "reason"),
    [
        (Nvml({}), "NVML finds no GPU GPU-a: Not Found"),
        (
            Nvml({"GPU-a": 0}, refuses="nvmlDeviceGetUtilizationRates"),
            "NVML reads no load of Model a: Not Supported",
        ),
    ],
)
def test_gpu_load_that_is_not_known_has_a_reason(nvml, reason):
    assert gpu_load(0, uuid="GPU-a", nvml=nvml) == (None, reason)
