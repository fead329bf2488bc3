from __future__ import annotations

import pytest

from t2engine.reports.units import (
    digits,
    show_amount,
    show_percent,
    show_rate,
    show_seconds,
    show_times,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (1234.5, "1,230"),
        (999.6, "1,000"),
        (99.96, "100"),
        (12.345, "12.3"),
        (9.999, "10.0"),
        (1, "1.00"),
        (0.12345, "0.123"),
        (-4.567, "-4.57"),
    ],
)
def test_digits(value: float, shown: str) -> None:
    assert digits(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5, "1.50 s"),
        (0.9996, "1.00 s"),
        (0.0123, "12.3 ms"),
        (9.996e-4, "1.00 ms"),
        (4.56e-5, "45.6 µs"),
        (2e-10, "0.200 ns"),
    ],
)
def test_seconds(value: float, shown: str) -> None:
    assert show_seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.13e11, "213 GFLOP/s"), (1.3e12, "1.30 TFLOP/s"), (12.0, "12.0 FLOP/s")],
)
def test_rates(value: float, shown: str) -> None:
    assert show_rate(value, "FLOP/s") == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0626, "6.3 %"), (0.0996, "10 %"), (0.913, "91 %"), (0, "0.0 %")]
)
def test_percent(value: float, shown: str) -> None:
    assert show_percent(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.934, "0.93×"), (0.9999, "1.00×"), (1.05, "1.05×"), (1.996, "2.0×"), (9.96, "10×")],
)
def test_times(value: float, shown: str) -> None:
    assert show_times(value) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1e14, "flops", "1e+14 FLOPs"),
        (0.0123, "seconds", "12.3 ms"),
        (119.0, "seconds", "119 s"),
        (120.0, "seconds", "2.00 min"),
        (7200.0, "seconds", "2.00 h"),
        (172_800.0, "seconds", "2.00 days"),
        (0.4217, "usd", "0.422 USD"),
        (12_300.0, "joules", "12.3 kJ"),
    ],
)
def test_amounts_state_their_unit(value: float, unit: str, shown: str) -> None:
    assert show_amount(value, unit) == shown
