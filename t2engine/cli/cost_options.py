"""The options that say what plans are priced by, for every command that prices one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Profile = Annotated[
    Path | None,
    typer.Option(
        help="Profile of `t2 calibrate`, of the machine that serves: costs, and budgets, are then "
        "its measured seconds, not FLOPs by formula."
    ),
]
TrainingProfile = Annotated[
    Path | None, typer.Option(help="Profile of the machine that trains (default: the same).")
]
Precision = Annotated[
    str | None,
    typer.Option(help="Of weights, or weights/cache, when serving (default float32)."),
]
VocabSize = Annotated[
    int | None, typer.Option(help="Of the models that N stands for (default 8192).")
]
UsdPerHour = Annotated[
    float | None, typer.Option(help="What an hour of --profile's machine costs: plan in dollars.")
]
TrainingUsdPerHour = Annotated[
    float | None, typer.Option(help="The same of --training-profile's (default: the same price).")
]
Joules = Annotated[
    bool, typer.Option("--joules", help="Plan in joules, where the profiles counted them.")
]
