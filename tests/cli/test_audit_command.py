"""`t2 audit` from the command line to the printed answer and the exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from t2engine.cli.main import run
from t2engine.costs.formula import Demand
from t2engine.costs.profile import build_profile, profile_to_dict
from t2engine.laws.law_file import law_from_dict, law_to_dict, read_shipped_law
from t2engine.laws.observations import read_observations
from t2engine.laws.selection import fit_law
from t2engine.laws.splits import counts_ladder
from t2engine.plan.audit import audit_plan
from tests.costs.synthetic import synthetic_measurements
from tests.laws.ladder import records, write_csv

Capture = pytest.CaptureFixture[str]
OWN = ("--size", "1e6", "--tokens-trained", "1.6e7", "-k", "8")


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ladder") / "observations.csv"
    return str(write_csv(path, records(num_questions=60)))


@pytest.fixture(scope="module")
def law_file(ladder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fitted Approach 1, so that commands neither fit nor draw laws."""
    path = tmp_path_factory.mktemp("law") / "law.json"
    law = fit_law(counts_ladder(read_observations(ladder)), "approach1").law
    path.write_text(json.dumps(law_to_dict(law)))
    return str(path)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("machine") / "profile.json"
    fitted = build_profile(synthetic_measurements(seed=0, noise=0.03))
    path.write_text(json.dumps(profile_to_dict(fitted)))
    return str(path)


@pytest.fixture
def plan_file(law_file: str, tmp_path: Path, capsys: Capture) -> Path:
    arguments = ["--budget", "1e14", "--questions", "1e5", "--tokens", "12", "--prompt-tokens", "9"]
    return planned(tmp_path, capsys, [*arguments, "--law-file", law_file])


def planned(folder: Path, capsys: Capture, arguments: list[str]) -> Path:
    assert run(["plan", *arguments, "--json"]) == 0
    path = folder / "plan.json"
    path.write_text(capsys.readouterr().out)
    return path


def audited(capsys: Capture, arguments: list[str], code: int) -> dict[str, Any]:
    assert run(["audit", *arguments, "--json"]) == code
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


def test_json_equals_the_library(law_file: str, capsys: Capture) -> None:
    demand = ["--questions", "1e5", "--tokens", "12", "--prompt-tokens", "9"]
    document = audited(capsys, [*OWN, *demand, "--law-file", law_file], 1)
    law = law_from_dict(json.loads(Path(law_file).read_text()))
    report = audit_plan(law, 1e6, 1.6e7, 8, Demand(1e5, 12, 9))  # type: ignore[arg-type]
    assert (document["format"], document["unit"]) == ("t2engine.audit", "flops")
    assert document["audited"]["total_cost"] == 6 * 1.6e13 + 1e5 * 2e6 * (8 * 12 + 9)
    assert document["audited"]["pass_at_k"] == report.audited.pass_at_k
    assert document["better"]["N"] == report.best.better.N
    assert document["cheaper"]["k"] == report.best.cheaper.k
    assert document["saving_share"] == report.saving_share
    assert document["gain_by"] == report.gain_by
    assert document["cost_parts"]["audited"]["prompts"] == 1e5 * 2e6 * 9
    assert document["keeping"]["D"]["better"]["D"] == 1.6e7
    assert document["odds"] is None


def test_the_tables_say_what_is_saved_and_where(law_file: str, capsys: Capture) -> None:
    common = [*OWN, "--questions", "1e5", "--prompt-tokens", "9", "--law-file", law_file]
    assert run(["audit", *common]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    for words in (
        "Not the best plan: ",
        "could be saved at the same pass@k",
        "cheapest as good",
        "moving D and k, not N",
        "of it, by k",
        "of it, on prompts",
        "odds: not computed",
        "costs: formula",
    ):
        assert words in printed


def test_tolerance_decides_the_exit_code(law_file: str, capsys: Capture) -> None:
    common = [*OWN, "--questions", "1e5", "--law-file", law_file]
    share = audited(capsys, common, 1)["saving_share"]
    assert audited(capsys, [*common, "--tolerance", repr(share + 1e-6)], 0)["within_tolerance"]
    audited(capsys, [*common, "--tolerance", repr(share - 1e-6)], 1)
    assert run(["audit", *common, "--tolerance", "0.99"]) == 0
    assert "Within 99 % of the best plan" in capsys.readouterr().out


def test_what_t2_plan_found_is_the_best_plan(plan_file: Path, capsys: Capture) -> None:
    """The file brings its demand and its law."""
    document = audited(capsys, ["--plan", str(plan_file), "--tolerance", "0"], 0)
    stored = json.loads(plan_file.read_text())
    assert document["is_best"]
    assert document["audited"]["pass_at_k"] == stored["t2"]["pass_at_k"]
    assert document["demand"] == stored["demand"]
    assert document["law"] == stored["law"]
    assert run(["audit", "--plan", str(plan_file)]) == 0
    printed = capsys.readouterr().out
    assert "This is the best plan" in printed
    assert "best at its cost" not in printed


def test_options_change_the_demand_of_a_file(plan_file: Path, capsys: Capture) -> None:
    """Served a hundred times as often, the plan trains too little and samples too much."""
    document = audited(capsys, ["--plan", str(plan_file), "--questions", "1e7"], 1)
    assert document["demand"] == {"questions": 1e7, "output_tokens": 12, "prompt_tokens": 9}
    assert document["better"]["k"] < document["audited"]["k"]


def test_a_plan_of_two_budgets_needs_the_questions(
    law_file: str, tmp_path: Path, capsys: Capture
) -> None:
    budgets = ["--train-budget", "1e13", "--inference-budget", "1e8", "--law-file", law_file]
    path = planned(tmp_path, capsys, budgets)
    assert run(["audit", "--plan", str(path)]) == 2
    assert "say with --questions how many will be served" in capsys.readouterr().err
    document = audited(capsys, ["--plan", str(path), "--questions", "1e5", "--tolerance", "0.9"], 0)
    assert document["demand"]["questions"] == 1e5


def test_money_and_a_plan_made_in_another_unit(
    plan_file: Path, profile: str, capsys: Capture
) -> None:
    money = ["--profile", profile, "--usd-per-hour", "3.6", "--tolerance", "0.999"]
    document = audited(capsys, ["--plan", str(plan_file), *money], 0)
    assert document["unit"] == "usd"
    assert (
        "the plan was made for the least flops, and is priced in usd here" in (document["warnings"])
    )
    seconds = audited(capsys, ["--plan", str(plan_file), *money[:2], *money[4:]], 0)
    assert document["audited"]["total_cost"] * 1000 == pytest.approx(
        seconds["audited"]["total_cost"]
    )
    assert document["saving_share"] == pytest.approx(seconds["saving_share"], rel=1e-6)
    assert run(["audit", "--plan", str(plan_file), *money]) == 0
    assert " USD" in capsys.readouterr().out


def test_limits_hold(law_file: str, capsys: Capture) -> None:
    limits = ["--max-k", "9", "--max-tokens", "2e7", "--min-size", "5e5", "--max-size", "2e6"]
    document = audited(capsys, [*OWN, *limits, "--law-file", law_file, "--tolerance", "0.99"], 0)
    for plan in (document["better"], document["cheaper"]):
        assert plan["k"] <= 9 * (1 + 1e-8)
        assert plan["D"] <= 2e7 * (1 + 1e-8)
        assert 5e5 * (1 - 1e-8) <= plan["N"] <= 2e6 * (1 + 1e-8)


def test_the_shipped_law_is_the_default_with_its_odds(capsys: Capture) -> None:
    arguments = ["--size", "2e5", "--tokens-trained", "8e6", "-k", "16"]
    document = audited(capsys, arguments, 1)
    assert document["law"]["law"] == "counts"
    assert document["odds"]["num_laws"] == 50
    assert 0.5 < document["odds"]["share_better"] <= 1
    assert document["odds"]["gain"][0] < document["gain"] < document["odds"]["gain"][1]
    assert run(["audit", *arguments]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "beats yours by" in printed
    assert "50 refits to models drawn with replacement" in printed


def test_odds_need_observations_or_are_asked_for(tmp_path: Path, capsys: Capture) -> None:
    """The file of a law brings none; a plan made with the shipped law is drawn from the ladder."""
    law = tmp_path / "law.json"
    law.write_text(json.dumps(law_to_dict(read_shipped_law())))
    arguments = ["--size", "2e5", "--tokens-trained", "8e6", "-k", "16", "--law-file", str(law)]
    assert audited(capsys, arguments, 1)["odds"] is None
    assert audited(capsys, [*arguments, "--bands"], 1)["odds"]["num_laws"] == 100
    path = planned(tmp_path, capsys, ["--budget", "1e14", "--no-bands"])
    document = audited(capsys, ["--plan", str(path), "--questions", "1e8"], 1)
    assert document["odds"]["source"] == "50 refits to models drawn with replacement"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing --size, --tokens-trained, -k"),
        (["--size", "1e6", "-k", "8"], "missing --tokens-trained"),
        (["--size", "much"], "Invalid value for '--size'"),
        (["--plan", "plan.json", "-k", "8"], "--plan already says N, D and k: leave -k out"),
        (["--plan", "absent.json"], "absent.json: cannot be read: No such file"),
        ([*OWN[:5], "0.5"], "k, its samples, must be at least 1 and finite, got 0.5"),
        ([*OWN, "--questions", "0"], "questions must be above 0"),
        ([*OWN, "--prompt-tokens", "-1"], "prompt_tokens must be 0 or more"),
        ([*OWN, "--tolerance", "1"], "tolerance must be a share .* got 1"),
        ([*OWN, "--max-k", "4"], "its k = 8 is above 4: loosen the limit"),
        ([*OWN, "--usd-per-hour", "1"], "--usd-per-hour needs --profile"),
        ([*OWN, "--law", "approach2"], "--law must be left out: 'approach2'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    law_file: str, capsys: Capture, arguments: list[str], message: str
) -> None:
    assert run(["audit", *arguments, "--law-file", law_file]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("t2 audit: ")
    assert printed.err.count("\n") == 1
    assert re.search(message, printed.err)


def test_audit_never_imports_torch_or_scipy(law_file: str) -> None:
    code = (
        "import sys; from t2engine.cli.main import run; "
        f"assert run(['audit', *{OWN!r}, '--law-file', {law_file!r}, '--json']) == 1; "
        "heavy = {'torch', 'scipy', 'transformers'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["format"] == "t2engine.audit"
