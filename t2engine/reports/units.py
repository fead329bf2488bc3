"""Numbers as a person reads them: three digits at most, and a unit."""

from __future__ import annotations

import math

SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
SCALES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def digits(value: float) -> str:
    """Three of them: 1,230 or 12.3 or 0.123."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= 100:
        return f"{rounded:,.0f}"
    decimals = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{decimals}f}"


def show_seconds(value: float) -> str:
    for scale, unit in SECONDS:
        if float(f"{value:.3g}") >= scale:
            return f"{digits(value / scale)} {unit}"
    return f"{digits(value / 1e-9)} ns"


def show_rate(value: float, unit: str) -> str:
    """unit: of one, such as "FLOP/s"."""
    for scale, letter in SCALES:
        if value >= scale:
            return f"{digits(value / scale)} {letter}{unit}"
    return f"{digits(value)} {unit}"


def show_percent(share: float) -> str:
    """A tenth of a percent below ten, whole ones above: 6.3 %, 16 %."""
    percent = 100 * share
    return f"{percent:.1f} %" if abs(percent) < 9.95 else f"{percent:,.0f} %"


def show_times(ratio: float) -> str:
    """1.05×, 5.6×, 15×: near one, hundredths tell a gain from a loss."""
    decimals = 2 if ratio < 1.995 else 1 if ratio < 9.95 else 0
    return f"{ratio:,.{decimals}f}×"


def show_amount(value: float, unit: str) -> str:
    """A cost in its unit: 1e+14 FLOPs, 3.2 h, 0.42 USD, 12.3 kJ."""
    if unit == "flops":
        return f"{value:.3g} FLOPs"
    if unit == "seconds":
        return show_duration(value)
    if unit == "joules":
        return show_rate(value, "J")
    return f"{digits(value)} {unit.upper()}"


def show_duration(seconds: float) -> str:
    """Seconds below two minutes, then minutes, hours, and days from two of them on."""
    for length, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * length:
            return f"{digits(seconds / length)} {name}"
    return show_seconds(seconds)
