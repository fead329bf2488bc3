"""`t2 fit` from the command line to law.json, and from there to a plan."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from t2engine.cli.main import run
from t2engine.laws.comparison import compare_laws
from t2engine.laws.counts import CountsLaw
from t2engine.laws.law_file import law_from_dict, read_law
from t2engine.laws.observations import read_observations
from t2engine.laws.splits import LAWS, SPLITS, counts_ladder
from t2engine.schema import Observation
from tests.laws.ladder import records, write_csv
from tests.laws.planted import planted_records


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ladder") / "observations.csv"
    return str(write_csv(path, planted_records(0, num_questions=60)))


@pytest.fixture(scope="module")
def fitted(ladder: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, str]:
    """Exit code, law.json and what was printed."""
    out = tmp_path_factory.mktemp("fit") / "law.json"
    done = subprocess.run(
        [sys.executable, "-m", "t2engine.cli.main", "fit", ladder, "--out", str(out), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, out, done.stdout


def test_json_is_one_object_and_equals_the_library(
    ladder: str, fitted: tuple[int, Path, str]
) -> None:
    code, out, printed = fitted
    document = json.loads(printed)
    want = compare_laws(counts_ladder(read_observations(ladder)))
    assert code == 0
    assert document["format"] == "t2engine.fit"
    assert document["best"] == want.best.name == "counts"  # which drew the data
    assert document["observations"]["checkpoints"] == 20
    assert document["observations"]["samples"] == 20 * 60 * 64
    assert [x["law"] for x in document["laws"]] == list(LAWS)
    for found, contender in zip(document["laws"], want.contenders, strict=True):
        assert found["held_out_errors"] == {x.split: x.error for x in contender.scores}
        assert set(found["held_out_errors"]) == set(SPLITS)
        assert law_from_dict(found["fitted"]) == contender.law
        assert set(found["intervals"]) == set(found["parameters"]) - {"discrepancy"}
        assert found["converged"] == contender.converged
    assert read_law(out) == want.best.law
    assert isinstance(want.best.law, CountsLaw)


def test_the_law_written_is_planned_with(
    ladder: str, fitted: tuple[int, Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for source in (["--law", "counts", "--observations", ladder], ["--law-file", str(fitted[1])]):
        assert run(["plan", "--budget", "1e16", *source, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["t2"] == found[1]["t2"]
    assert found[0]["law"] == found[1]["law"]
    assert "50 refits" in found[0]["bands"]["source"]
    assert "100 draws" in found[1]["bands"]["source"]
    for document in found:
        low, high = document["bands"]["N"]
        assert low < document["t2"]["N"] < high


def test_one_law_is_fitted_and_a_bound_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Approach 1's E runs to 0 on the shipped ladder."""
    assert run(["fit", "--law", "approach1", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [x["law"] for x in document["laws"]] == ["approach1"]
    assert "E" in document["laws"][0]["bounds_hit"]
    assert document["sound"] is False


def test_table_shows_scores_bounds_and_parameters(
    ladder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "law.json"
    assert run(["fit", ladder, "--law", "counts", "--out", str(out)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("counts (best)", "converged", "on a bound", "kappa", "95 %", f"wrote {out}"):
        assert words.replace(" ", "") in printed.replace(" ", "")
    assert list(tmp_path.iterdir()) == [out]


def test_laws_that_cannot_be_fitted_say_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve checkpoints are too few for the counts law to hold any out; nine, for it at all."""
    for largest, message in (
        (1e7, "counts was not scored with compute held out: with 3 left out: the counts law needs"),
        (4e5, "counts was not fitted: the counts law needs at least 10 checkpoints"),
    ):
        rows = [r for r in records(20) if largest > r.N and r.D < 16_000_000]
        run(["fit", str(write_csv(tmp_path / "few.csv", rows))])
        assert message in " ".join(capsys.readouterr().out.split())


def test_fit_never_imports_torch(ladder: str) -> None:
    code = (
        "import sys; from t2engine.cli.main import run; "
        f"run(['fit', {ladder!r}, '--law', 'approach1', '--json']); "
        "heavy = {'torch', 'scipy', 'transformers'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def bad_rows(kind: str) -> list[Observation]:
    rows = records(num_questions=3)
    if kind == "one model":
        return [r for r in rows if r.model == rows[-1].model]
    return [replace(r, num_correct=r.num_samples if kind == "all right" else 0) for r in rows]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("one model", "needs at least 6 checkpoints over 3 different N .* got 1 over 1 and 1"),
        ("all right", "at least one failure, every sample is right"),
        ("all wrong", "at least one success, every sample is wrong"),
    ],
)
def test_observations_that_no_law_fits_are_one_line(
    kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_csv(tmp_path / "obs.csv", bad_rows(kind))
    assert run(["fit", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert re.search(rf"^t2 fit: .*{message}", printed.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "absent.csv"], r"absent\.csv: cannot be read: No such file"),
        (["fit", "--law", "kaplan"], "--law must be one of .*, got 'kaplan'"),
        (["fit", "--out", "/absent/law.json"], "--out must be a file in a directory that exists"),
        (["plan", "--budget", "1e14", "--law-file", "absent"], "absent: cannot be read"),
        (["plan", "--budget", "1e14", "--law-file", __file__], "not a JSON file"),
        (
            ["plan", "--budget", "1e14", "--law-file", "x", "--law", "counts"],
            "--law must be left out",
        ),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.search(message, printed.err)
    assert printed.err.count("\n") == 1
