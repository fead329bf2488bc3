"""`t2 doctor`: what runs here, and why the rest does not."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the machine, the chosen instruction set, and every operation's backends."""
    from t2engine.hardware.machine import examine
    from t2engine.reports.doctor import print_examination

    found = examine()
    if as_json:
        print(json.dumps(found))
    else:
        print_examination(found)
