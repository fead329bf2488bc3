"""`t2 calibrate`: what this machine charges for training and sampling, measured and modelled.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2. A machine that
other programs keep busy is warned about, its profile is not saved, and the exit code is 1.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from t2engine.cli.progress import showing_progress

if TYPE_CHECKING:
    from t2engine.costs.profile import HardwareProfile

NOISY = "its profile would be of the noise"


def calibrate(
    out: Annotated[
        Path, typer.Option(help="Profile to write; a page that shows it goes beside it.")
    ] = Path("t2-profile.json"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Under a minute, one precision, wider intervals.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, or cuda for an NVIDIA GPU.")] = "cpu",
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="Of weights, or weights/cache, such as int8/float32; repeatable. Default on a "
            "CPU: float32, bfloat16, int8 and int8/int8; with --quick float32 alone."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; all cores by default.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Save the profile of a busy machine too.")
    ] = False,
    page: Annotated[
        bool, typer.Option(help="Draw the page (needs pip install 't2engine[report]').")
    ] = True,
    png: Annotated[Path | None, typer.Option(help="Draw the page's pictures here too.")] = None,
    show: Annotated[
        Path | None, typer.Option(help="Measure nothing; show, and draw, this profile.")
    ] = None,
    compare: Annotated[
        Optional[tuple[Path, Path]],  # noqa: UP045 -- typer reads no union of a tuple
        typer.Option(help="Measure nothing; hold two profiles against each other."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure this machine, and fit what a decode step, a prefill and a training step take.

    Takes under 6 minutes. Ctrl-C keeps what was measured; the same command goes on.
    """
    if compare is not None:
        compare_profiles(*compare, as_json)
        return
    if show is not None:
        show_profile(show, page, png, as_json)
        return
    refuse_bad_output(out)
    if png is not None:
        refuse_bad_output(png)
    profile = measure(out, quick, device, precision, threads, force)
    if profile is None:
        raise typer.Exit(1)
    report(profile, out, page, png, as_json)


def show_profile(path: Path, page: bool, png: Path | None, as_json: bool) -> None:
    from t2engine.costs.comparison import other_machine
    from t2engine.costs.profile import read_profile
    from t2engine.hardware.machine import examine

    profile = read_profile(path)
    warning = other_machine(profile, examine())
    if warning is not None:
        say(f"warning: {warning}")
    report(profile, path, page, png, as_json)


def refuse_bad_output(path: Path) -> None:
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"{path} must be a file in a directory that exists and can be written to")


def measure(
    out: Path,
    quick: bool,
    device: str,
    precision: list[str] | None,
    threads: int | None,
    force: bool,
) -> HardwareProfile | None:
    """The profile, saved; None where the machine was busy, and what was measured is kept."""
    import torch

    from t2engine.costs.measurements import parse_precision
    from t2engine.costs.profile import build_profile, profile_to_dict
    from t2engine.files import write_text
    from t2engine.hardware.calibration import Settings, measure_machine, why_busy

    settings = Settings(
        precisions=tuple(parse_precision(text) for text in precision or ()),
        threads=threads or torch.get_num_threads(),
        quick=quick,
        device=device,
    )
    reason = why_busy(device=device)
    if reason is not None:
        say(f"this machine is busy, {NOISY}: {reason}")
        if not force:
            say("nothing was measured; end those programs, or measure all the same with --force")
            return None
    partial = out.with_name(out.name + ".partial")
    if partial.exists():
        say(f"going on from {partial}")
    with showing_progress("calibrating") as tell:
        try:
            measured, busy = measure_machine(settings, partial, tell)
        except KeyboardInterrupt:
            say(f"stopped; what was measured is in {partial}, and the same command goes on from it")
            raise
    if busy and not force:
        say(f"other programs kept this machine busy, {NOISY}: not saved")
        say(f"{partial} keeps the quiet rounds: the same command measures the others again")
        return None
    profile = build_profile(measured)
    write_text(out, json.dumps(profile_to_dict(profile)) + "\n")
    partial.unlink()
    return profile


def report(
    profile: HardwareProfile, path: Path, page: bool, png: Path | None, as_json: bool
) -> None:
    from t2engine.costs.profile import profile_to_dict
    from t2engine.reports.calibration import print_profile

    drawn = draw(profile, path.with_suffix(".html") if page else None, png)
    if as_json:
        print(json.dumps(profile_to_dict(profile)))
        return
    print_profile(profile)
    for line in (f"profile: {path}", *drawn):
        print(line)


def draw(profile: HardwareProfile, page: Path | None, png: Path | None) -> list[str]:
    """Lines that say what was drawn, or why the page was not; a PNG that was asked for must be."""
    from t2engine.reports.calibration_page import write_page, write_png
    from t2engine.reports.figure_style import why_not_drawn

    lines = []
    if png is not None:
        write_png(profile, png)
        lines.append(f"picture: {png}")
    if page is not None:
        reason = why_not_drawn()
        if reason is None:
            write_page(profile, page)
        lines.append(f"page: {page}" if reason is None else f"page: not drawn, {reason}")
    return lines


def compare_profiles(old: Path, new: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from t2engine.costs.comparison import compare
    from t2engine.costs.profile import read_profile
    from t2engine.reports.calibration import print_comparison

    found = compare(read_profile(old), read_profile(new))
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        print_comparison(found)


def say(line: str) -> None:
    typer.echo(line, err=True)
