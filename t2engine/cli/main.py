"""`t2`: one command a file. Errors are one line on stderr and exit code 2."""

from __future__ import annotations

import sys

import typer

from t2engine import __version__
from t2engine.cli import audit, bench, calibrate, choose, demo, doctor, fit, plan, sample, study
from t2engine.cli import eval as eval_command

CLICK_ERROR: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

app = typer.Typer(
    name="t2",
    help="Sample k answers from one prompt, know what each cost, and plan N, D and k together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(sample.sample)
app.command()(fit.fit)
app.command()(plan.plan)
app.command()(audit.audit)
app.command()(choose.choose)
app.command()(calibrate.calibrate)
app.command()(bench.bench)
app.command()(doctor.doctor)
app.command()(demo.demo)
app.command("eval")(eval_command.evaluate)
app.add_typer(study.app, name="study")


def show_version(wanted: bool) -> None:
    if wanted:
        print(f"t2engine {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    command = typer.main.get_command(app)
    try:
        return int(command.main(arguments, prog_name="t2", standalone_mode=False) or 0)
    except CLICK_ERROR as error:
        context = getattr(error, "ctx", None)
        return fail(context.command_path if context else "t2", error.format_message())  # type: ignore[attr-defined]
    except ValueError as error:
        words = [word for word in arguments[:2] if not word.startswith("-")]
        return fail(" ".join(["t2", *words[:1]]), str(error))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return 0


def fail(command: str, message: str) -> int:
    one_line = " ".join(message.split())
    print(f"{command}: {one_line}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
