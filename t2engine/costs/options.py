"""Which costs a plan is priced by: the formulas, or machines that were calibrated.

Raises: ValueError for prices in two units, or a machine's options without its profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from t2engine.costs.formula import CostModel, FormulaCost


@dataclass(frozen=True)
class CostOptions:
    """profile: of the machine that serves; training_profile: of the one that trains, the same
    where it is None. Prices are seconds unless money or joules are asked for."""

    profile: Path | None = None
    training_profile: Path | None = None
    precision: str | None = None  # weights/cache of serving; float32 where it is None
    vocab_size: int | None = None
    usd_per_hour: float | None = None
    training_usd_per_hour: float | None = None
    joules: bool = False

    def __post_init__(self) -> None:
        given = [name for name, x in vars(self).items() if x not in (None, False)]
        if self.profile is None and given:
            named = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ValueError(
                f"{named} needs --profile, a machine's costs; `t2 calibrate` makes one"
            )
        if self.joules and (self.usd_per_hour or self.training_usd_per_hour) is not None:
            raise ValueError("a plan is priced in one unit: give --joules or --usd-per-hour")
        if self.training_usd_per_hour is not None and self.usd_per_hour is None:
            raise ValueError("--training-usd-per-hour needs --usd-per-hour, of the serving machine")
        if self.vocab_size is not None and self.vocab_size < 1:
            raise ValueError(f"vocab_size must be at least 1, got {self.vocab_size}")


def cost_model(options: CostOptions) -> CostModel:
    """The formula costs where no profile was given."""
    if options.profile is None:
        return FormulaCost()
    # a machine's costs take a while to import, which a plan by formula does without
    from t2engine.costs.machine import measured_cost

    return measured_cost(options)
