"""Instructions of one native decode step, counted by callgrind: a figure that noise cannot touch.

    python -m benchmarks.instructions            counts, prints, writes results/instructions.json
    python -m benchmarks.instructions --check    counts, and fails above the file's figures + 2 %

benchmarks/instructions.cpp is the model and the step: fixed numbers, one thread, the AVX2 set,
because valgrind knows no AVX-512. It is built in the extension's own build directory, from the same
objects. Compilers differ, so figures bind only the compiler that they were counted with; another
prints its own and passes with a note. Fewer instructions pass too: write them down to keep them.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}"
FIGURES = ROOT / "benchmarks" / "results" / "instructions.json"
ROWS = (1, 8, 64)
TOLERANCE = 0.02
PROGRAM = "t2_instructions"  # of CMakeLists.txt
STEP = "measured_step"  # of benchmarks/instructions.cpp


def why_not() -> str | None:
    """Why nothing can be counted here; None when it can."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    if cmake() is None:
        return "cmake is not installed"
    if not (BUILD / "CMakeCache.txt").exists():
        return f"no build of the extension in {BUILD}"
    if not (BUILD / "CMakeFiles" / "t2_cpu_avx2.dir").exists():
        return "the extension has no AVX2 build here"
    return None


def cmake() -> str | None:
    """The one of this environment, before any other."""
    return shutil.which("cmake", path=sysconfig.get_path("scripts")) or shutil.which("cmake")


def build() -> None:
    command = [str(cmake()), "--build", str(BUILD), "--target", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{PROGRAM} was not built:\n{done.stdout}{done.stderr}")


def compiler() -> str:
    """What compiled the objects, in its own words."""
    cache = (BUILD / "CMakeCache.txt").read_text()
    found = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.+)$", cache, re.MULTILINE)
    assert found is not None, "CMake always writes its compiler down"
    return version_of(found[1])


def version_of(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def count(rows: int) -> int:
    """Instructions of one step of so many rows."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        options = ["--collect-atstart=no", f"--toggle-collect={STEP}"]
        command = ["valgrind", "--tool=callgrind", *options, f"--callgrind-out-file={out}"]
        command += [str(BUILD / PROGRAM), str(rows)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
        found = re.search(r"^totals: (\d+)", out.read_text(), re.MULTILINE)
    assert found is not None, "callgrind always writes totals"
    instructions = int(found[1])
    assert instructions > 0, f"callgrind did not see {STEP}"
    return instructions


def compare(counted: dict[int, int], figures: dict[str, Any], built_with: str) -> list[str]:
    """The cases that take too many instructions, in words. Prints every case."""
    known = {int(rows): n for rows, n in figures["instructions"].items()}
    binding = figures["compiler"] == built_with
    if not binding:
        print(
            f"note: counted with {built_with}; the figures are of {figures['compiler']} and do not "
            "bind it"
        )
    failures = []
    for rows, instructions in counted.items():
        if rows not in known:
            print(f"{rows:4d} rows: {instructions:,} instructions; no figure to compare with")
            continue
        change = instructions / known[rows] - 1
        line = f"{rows:4d} rows: {instructions:,} instructions, {change:+.2%} of {known[rows]:,}"
        print(line)
        if binding and change > TOLERANCE:
            failures.append(line)
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), metavar="R")
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    parser.add_argument("--figures", type=Path, default=FIGURES, metavar="JSON")
    options = parser.parse_args()
    if reason := why_not():
        raise SystemExit(f"instructions cannot be counted: {reason}")
    build()
    counted = {rows: count(rows) for rows in options.rows}
    if options.check:
        failures = compare(counted, json.loads(options.figures.read_text()), compiler())
        if failures:
            allowed = f"more than {TOLERANCE:.0%} above {options.figures}"
            raise SystemExit("\n".join([f"{allowed}:", *failures]))
        return
    record = {
        "command": "python -m benchmarks.instructions",
        "date": date.today().isoformat(),
        "compiler": compiler(),
        "valgrind": version_of("valgrind"),
        "instruction_set": "avx2",
        "instructions": counted,
    }
    for rows, instructions in counted.items():
        print(f"{rows:4d} rows: {instructions:,} instructions, {instructions // rows:,} a row")
    options.figures.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
