"""`t2 doctor`: what runs here, and why the rest does not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(
    gpu: Annotated[
        bool,
        typer.Option(
            "--gpu", help="Show which attention kernel a GPU uses, and check all kernels on it."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the machine, the chosen instruction set, and every operation's backends."""
    if gpu:
        doctor_of_gpu(as_json)
        return
    from t2engine.hardware.machine import examine
    from t2engine.reports.doctor import print_examination

    found = examine()
    if as_json:
        print(json.dumps(found))
    else:
        print_examination(found)


def doctor_of_gpu(as_json: bool) -> None:
    """Exits with 1 when a kernel fails its check."""
    import torch

    from t2engine.hardware.gpu_check import check_kernels
    from t2engine.ops import PREFIX_CHOICES
    from t2engine.reports.doctor import print_checks, print_choices

    choices = [asdict(choice) for choice in PREFIX_CHOICES]
    if not as_json:
        print_choices(choices)
    if not torch.cuda.is_available():
        if as_json:
            print(json.dumps({"prefix_choices": choices, "gpu": None, "checks": []}))
        else:
            print("self-check: not run, torch finds no NVIDIA GPU")
        return
    checks = check_kernels(torch.device("cuda"))
    if as_json:
        done = list(checks)
        found = {"prefix_choices": choices, "gpu": torch.cuda.get_device_name()}
        print(json.dumps({**found, "checks": [asdict(check) for check in done]}))
        failed = any(not check.passed for check in done)
    else:
        print(f"self-check on {torch.cuda.get_device_name()}, about a minute:")
        failed = print_checks(checks) > 0
    if failed:
        raise typer.Exit(1)
