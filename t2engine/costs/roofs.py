"""What a calibrated machine can do at most, by its probes.

Units:  FLOPs and bytes per second; a copy's bytes are those it reads and those it writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from t2engine.costs.measurements import Measurements
from t2engine.costs.step_fit import read_roofs


@dataclass(frozen=True)
class Roofs:
    products: Mapping[str, float]  # the fastest product probed, by the type of its weights
    memory: float  # reading more than the caches hold
    cache: float  # reading the same few bytes again
    copy: float | None


def roofs_of(measured: Measurements) -> Roofs:
    products: dict[str, float] = {}
    for point in measured.of_kind("product"):
        dtype = point.shape["dtype"]
        products[dtype] = max(products.get(dtype, 0.0), point.flops / point.median)
    memory, cache = read_roofs(measured)
    copies = [point.bytes / point.median for point in measured.of_kind("copy")]
    return Roofs(products, memory, cache, max(copies, default=None))
