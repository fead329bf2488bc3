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
    """Exit code, law.json and what was printed, by a process that never loads torch."""
    out = tmp_path_factory.mktemp("fit") / "law.json"
    code = (
        "import sys; from t2engine.cli.main import run; "
        f"code = run(['fit', {ladder!r}, '--out', {str(out)!r}, '--json']); "
        "heavy = {'torch', 'scipy', 'transformers'} & set(sys.modules); assert not heavy, heavy; "
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
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
    for source in (["--observations", ladder], []):
        arguments = ["--law-file", str(fitted[1]), *source, "--json"]
        assert run(["plan", "--budget", "1e16", *arguments]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["t2"] == found[1]["t2"]
    assert law_from_dict(found[0]["law"]) == read_law(fitted[1])
    for document in found:  # the file holds the refits that the observations give
        assert "50 refits" in document["bands"]["source"]
        assert document["bands"]["N"] == pytest.approx(found[0]["bands"]["N"], rel=1e-3)
        assert {"the law approach1", "the law approach2"} < {
            x["change"] for x in document["sensitivity"]
        }
        low, high = document["bands"]["N"]
        assert low < document["t2"]["N"] < high


def test_lm_eval_logs_are_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same counts as a table and as one log for each model, a row a sample."""
    rows = records(num_questions=8, num_samples=8)
    sizes = {row.model: f"{row.model},{row.N},{row.D}" for row in rows}
    (tmp_path / "models.csv").write_text("\n".join(["model,N,D", *sizes.values()]))
    for row in rows:
        folder = tmp_path / "logs" / row.model
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "samples_sums_2025-01-31T12-00-00.1.jsonl").open("a") as file:
            for at in range(row.num_samples):
                document = {"doc_id": row.question, "filtered_resps": ["?"], "filter": "none"}
                right = {"exact_match": float(at < row.num_correct)}
                file.write(json.dumps(document | right) + "\n")
    table = write_csv(tmp_path / "obs.csv", [replace(row, gold_nll=None) for row in rows])
    logs = [str(tmp_path / "logs"), "--models", str(tmp_path / "models.csv")]
    found = []
    for source in ([str(table)], logs):
        run(["fit", *source, "--law", "approach1", "--json"])
        found.append(json.loads(capsys.readouterr().out)["laws"][0]["parameters"])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert run(["fit", "--models", str(tmp_path / "models.csv")]) == 2
    assert "go with observations of your own" in capsys.readouterr().err


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


def test_a_law_that_cannot_be_scored_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve checkpoints are too few for the counts law to hold any out."""
    rows = [r for r in records(20) if r.D < 16_000_000]
    run(["fit", str(write_csv(tmp_path / "few.csv", rows)), "--law", "counts"])
    message = "counts was not scored with compute held out: with 3 left out: the counts law needs"
    assert message in " ".join(capsys.readouterr().out.split())


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
