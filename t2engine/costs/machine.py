"""Measured costs from the files and prices that a person gives.

Raises: ValueError for what profiles, tariffs and CalibratedCost refuse.
"""

from __future__ import annotations

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.ladder import DEFAULT_VOCAB_SIZE
from t2engine.costs.options import CostOptions
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import HardwareProfile, read_profile
from t2engine.costs.tariff import BY_THE_SECOND, Tariff, joules_tariff, usd_tariff


def measured_cost(options: CostOptions) -> CalibratedCost:
    assert options.profile is not None, "without a profile costs are by formula"
    vocab_size = DEFAULT_VOCAB_SIZE if options.vocab_size is None else options.vocab_size
    profile = read_profile(options.profile)
    serving = MachineCosts(profile, options.precision or "float32", vocab_size)
    training = serving
    if options.training_profile is not None:
        trained = read_profile(options.training_profile)
        # its steps are not asked for, whatever their precision: training has its own
        training = MachineCosts(trained, next(iter(trained.steps), "float32"), vocab_size)
    return CalibratedCost(
        serving,
        training,
        tariff_of(profile, options.usd_per_hour, options.joules),
        tariff_of(
            training.profile,
            options.usd_per_hour
            if options.training_usd_per_hour is None
            else options.training_usd_per_hour,
            options.joules,
        ),
    )


def tariff_of(profile: HardwareProfile, usd_per_hour: float | None, joules: bool) -> Tariff:
    if joules:
        return joules_tariff(profile)
    return BY_THE_SECOND if usd_per_hour is None else usd_tariff(usd_per_hour)
