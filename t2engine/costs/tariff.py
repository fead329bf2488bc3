"""What a second, a FLOP and a byte are charged: seconds themselves, money by the hour, or joules.

    price = per_second seconds + per_flop FLOPs + per_byte bytes

Units:  the tariff's `unit` for each second, FLOP and byte.
Raises: ValueError for a price that is not above 0, and for joules where none were counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

from t2engine.costs.predictions import Estimate
from t2engine.costs.profile import HardwareProfile
from t2engine.costs.steps import Array

SECONDS_OF_HOUR = 3600.0
Number = TypeVar("Number", float, Array)


@dataclass(frozen=True)
class Tariff:
    unit: str
    per_second: float
    per_flop: float = 0.0
    per_byte: float = 0.0

    def price(self, seconds: Number, flops: Number, size: Number) -> Number:
        return self.per_second * seconds + self.per_flop * flops + self.per_byte * size

    def of(self, estimate: Estimate) -> float:
        return self.price(estimate.seconds, estimate.flops, estimate.bytes)


BY_THE_SECOND = Tariff("seconds", 1.0)


def usd_tariff(usd_per_hour: float) -> Tariff:
    """A machine rented by the hour."""
    if not 0 < usd_per_hour < math.inf:
        raise ValueError(f"usd_per_hour must be above 0 and finite, got {usd_per_hour}")
    return Tariff("usd", usd_per_hour / SECONDS_OF_HOUR)


def joules_tariff(profile: HardwareProfile) -> Tariff:
    """By the machine's own energy counter, the idle machine's joules among them."""
    energy = profile.energy
    if energy is None:
        reason = profile.measured.energy.get("reason") or "none were counted"
        raise ValueError(f"joules of {profile.machine} are not known: {reason}")
    return Tariff("joules", energy.watts_static, energy.joules_per_flop, energy.joules_per_byte)
