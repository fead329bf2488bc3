"""A GPU is found by the name that its driver gives it, and nothing else is."""

from __future__ import annotations

import pytest

from t2engine.hardware.datasheets import DATASHEETS, find_datasheet


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200 SXM"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB SXM"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", None),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("AMD EPYC 7763 64-Core Processor", None),
    ],
)
def test_a_device_has_the_datasheet_of_its_name(device, name):
    found = find_datasheet(device)
    assert (None if found is None else found.name) == name


def test_peaks_lie_where_rooflines_bend():
    """All these GPUs make 50 to 450 FLOPs in the time of a byte."""
    for sheet in DATASHEETS:
        assert 50 < sheet.flops_per_second / sheet.bytes_per_second < 450, sheet
