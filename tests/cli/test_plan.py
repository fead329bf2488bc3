"""`t2 plan` from the command line to the printed answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from t2engine.cli.main import run
from t2engine.costs.formula import Demand
from t2engine.costs.profile import build_profile, profile_to_dict
from t2engine.laws.law_file import law_to_dict, read_shipped_law
from t2engine.laws.observations import read_observations
from t2engine.laws.selection import fit_law
from t2engine.laws.splits import counts_ladder
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget
from tests.costs.synthetic import synthetic_measurements
from tests.laws.ladder import records, write_csv


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ladder") / "observations.csv"
    return str(write_csv(path, records(num_questions=60)))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("machine") / "profile.json"
    fitted = build_profile(synthetic_measurements(seed=0, noise=0.03))
    path.write_text(json.dumps(profile_to_dict(fitted)))
    return str(path)


def test_json_is_one_object_and_equals_the_library(
    ladder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--budget", "1e14", "--questions", "1e5", "--tokens", "12", "--prompt-tokens", "9"]
    assert run(["plan", *arguments, "--observations", ladder, "--json"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert printed.err == ""
    choice = fit_law(counts_ladder(read_observations(ladder)), "best")
    report = plan_budget(choice.law, Budget(total=1e14), Demand(1e5, 12, 9))
    assert document["t2"]["N"] == report.t2.N
    assert document["compute_optimal"]["k"] == report.compute_optimal.k
    assert document["saving"] == report.saving
    assert document["demand"]["prompt_tokens"] == 9


def test_two_budgets_follow_the_paper(ladder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """k = C_inf / 2N."""
    budgets = ["--train-budget", "1e13", "--inference-budget", "1e8"]
    for law in ("approach1", "approach2", "counts"):
        assert run(["plan", *budgets, "--law", law, "--observations", ladder, "--json"]) == 0
        plan = json.loads(capsys.readouterr().out)["t2"]
        assert plan["law"] == law
        assert plan["k"] == pytest.approx(1e8 / (2 * plan["N"]), rel=1e-9)
        assert plan["train_cost"] == pytest.approx(1e13, rel=1e-9)


def test_bands_are_drawn_where_asked_for(ladder: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "--budget", "1e14", "--observations", ladder, "--law", "approach1"]
    assert run(arguments) == 0
    assert "bands: not computed; --bands draws them" in capsys.readouterr().out
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bands"] is None
    assert run([*arguments, "--bands", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    for name in ("N", "D", "k", "pass_at_k"):
        low, high = document["bands"][name]
        assert low <= document["t2"][name] <= high
    assert document["bands"]["num_laws"] == 30
    assert run([*arguments, "--bands"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "90% band" in printed
    assert "30 refits to models drawn with replacement" in printed


def test_table_is_printed(ladder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "--budget", "1e14", "--observations", ladder]) == 0
    printed = capsys.readouterr().out
    for words in ("T²", "compute-optimal", "samples per question k", "saving:", "law:", "bands:"):
        assert words in printed


def test_a_law_without_refits_has_the_bands_of_its_covariance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "law.json"
    path.write_text(json.dumps(law_to_dict(read_shipped_law())))
    for words, has_bands in ((["--bands"], True), (["--no-bands"], False)):
        arguments = ["--budget", "1e15", "--law-file", str(path), *words, "--json"]
        assert run(["plan", *arguments]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["bands"] is not None) == has_bands
    assert run(["plan", "--budget", "1e15", "--law-file", str(path), "--bands"]) == 0
    assert "100 draws from the covariance" in capsys.readouterr().out


def test_advice_and_sensitivity_are_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "--budget", "1e15", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["version"] == 3
    topics = [x["topic"] for x in document["advice"]]
    assert topics == ["beyond the data", "many samples", "moves most"]
    assert all(set(x) == {"topic", "text", "evidence"} for x in document["advice"])
    keys = {"change", "N", "D", "k", "pass_at_k", "of", "at_edge"}
    assert all(set(x) == keys for x in document["sensitivity"])
    changes = {x["change"] for x in document["sensitivity"]}
    assert {"serving cost +25 %", "the law approach2", "law's beta +1 standard error"} < changes
    assert any("extrapolates" in x for x in document["t2"]["warnings"])
    assert run(["plan", "--budget", "1e15"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for advice in document["advice"]:
        assert f"{advice['topic']}: {advice['text']}" in printed
    assert "the law extrapolates" not in printed  # which the advice says in full


def test_a_target_takes_the_place_of_a_budget(
    ladder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cost found is a budget that buys just the target."""
    assert run(["plan", "--target", "0.7", "--observations", ladder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["target"] == 0.7
    assert found["t2"]["pass_at_k"] == pytest.approx(0.7, rel=1e-9)
    budget = repr(found["budget"]["total"])
    assert run(["plan", "--budget", budget, "--observations", ladder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["t2"] == found["t2"]
    assert run(["plan", "--target", "0.7", "--observations", ladder]) == 0
    assert capsys.readouterr().out.startswith("least cost of pass@k 0.7: ")


def test_a_page_goes_beside_what_is_printed(
    ladder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With limits there are no bands in the table, and there are on the page."""
    arguments = ["plan", "--budget", "1e14", "--observations", ladder, "--max-k", "20"]
    arguments += ["--law", "counts"]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    page = tmp_path / "plan.html"
    assert run([*arguments, "--html", str(page)]) == 0
    assert capsys.readouterr().out == printed
    html = page.read_text(encoding="utf-8")
    [data] = re.findall(r'id="plan-data">(.*?)</script>', html)
    document = json.loads(data)
    assert document["budget"] == {"total": 1e14}
    assert document["limits"]["max_k"] == 20
    assert len(document["checkpoints"]) == 16
    assert len(document["bands"]["laws"]) == 50
    assert run([*arguments, "--no-bands", "--html", str(page)]) == 0
    assert '"bands": null' in page.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.html"]


def test_rules_are_in_the_table_and_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "--train-budget", "1e13", "--inference-budget", "1e7", "--stop-at-first"]
    assert run([*arguments, "--json"]) == 0
    stopped = json.loads(capsys.readouterr().out)
    assert stopped["rule"]["stop_at_first"] is True
    assert stopped["bands"] is None
    assert stopped["t2"]["expected_samples"] < stopped["t2"]["k"]
    assert run([*arguments, "--verifier", "0.9,0.05"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in (
        "samples expected",
        "predicted verified success",
        "rule: the answer is the first sample that a verifier accepts; it accepts 0.9 of right",
    ):
        assert words in printed
    assert run([*arguments[:-1], "--verifier", "0.9,0.05", "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    rates = {"true_positive_rate": 0.9, "false_positive_rate": 0.05}
    assert judged["rule"] == {"verifier": rates, "stop_at_first": False}
    assert judged["t2"]["expected_samples"] == judged["t2"]["k"]
    assert judged["t2"]["pass_at_k"] < stopped["t2"]["pass_at_k"]


def test_repeats_are_in_the_table_and_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "--budget", "1e15", "--unique-tokens", "1e8"]
    assert run([*arguments, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["t2"]
    assert plan["epochs"] == pytest.approx(plan["D"] / 1e8)
    assert 1e8 < plan["effective_tokens"] < plan["D"]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    for words in ("epochs", "new tokens that D is worth", "tokens are repeated: "):
        assert words in printed
    assert run([*arguments, "--max-epochs", "1", "--json"]) == 0
    once = json.loads(capsys.readouterr().out)["t2"]
    assert once["effective_tokens"] == once["D"] == pytest.approx(1e8)
    assert once["pass_at_k"] < plan["pass_at_k"]


def test_a_profile_prices_in_seconds_or_money(
    ladder: str, profile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 3.6 dollars an hour a budget of a dollar is a budget of 1,000 seconds."""
    common = ["plan", "--observations", ladder, "--profile", profile, "--questions", "1e5"]
    plans = []
    for arguments in (["--budget", "1000"], ["--budget", "1", "--usd-per-hour", "3.6"]):
        assert run([*common, *arguments, "--json"]) == 0
        plans.append(json.loads(capsys.readouterr().out))
    seconds, usd = plans
    assert (seconds["unit"], usd["unit"]) == ("seconds", "usd")
    assert seconds["measured"] is usd["measured"] is True
    assert seconds["costs"].startswith("measured: serving in float32/float32 on A <planted>")
    assert usd["t2"]["N"] == pytest.approx(seconds["t2"]["N"], rel=1e-6)
    low, high = seconds["t2"]["inference_interval"]
    assert low < seconds["t2"]["inference_cost"] < high
    assert seconds["t2"]["total_cost"] == pytest.approx(1000, rel=1e-6)
    assert run([*common, "--budget", "1000"]) == 0
    printed = capsys.readouterr().out
    for words in ("16.7 min in all", "inference, within 90 %", "costs: measured"):
        assert words in printed


def test_limits_hold_and_are_said(ladder: str, capsys: pytest.CaptureFixture[str]) -> None:
    limits = ["--max-k", "3", "--size", "1e5", "--size", "3e5", "--max-tokens", "1e9"]
    arguments = ["plan", "--budget", "1e14", "--observations", ladder, *limits, "--json"]
    assert run(arguments) == 0
    found = json.loads(capsys.readouterr().out)["t2"]
    assert found["k"] == pytest.approx(3)
    assert min(abs(found["N"] / size - 1) for size in (1e5, 3e5)) < 1e-9
    assert "the limit on samples holds k at 3" in found["warnings"]
    assert "N is one of 2 sizes that are allowed" in found["warnings"]


def test_measured_budgets_for_one_question_are_for_whole_answers(
    ladder: str, profile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    budgets = ["--train-budget", "100", "--inference-budget", "0.01", "--profile", profile]
    assert run(["plan", *budgets, "--observations", ladder, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["demand"]["output_tokens"] == 16
    assert document["t2"]["inference_cost"] == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "must be either total, or train and inference together, got none"),
        (["--budget", "-1"], "total budget must be above 0 and finite, got -1"),
        (["--budget", "0"], "total budget must be above 0 and finite, got 0"),
        (["--budget", "nan"], "total budget must be above 0 and finite, got nan"),
        (["--budget", "much"], "Invalid value for '--budget'"),
        (["--train-budget", "1e13"], "got train"),
        (["--budget", "1e14", "--train-budget", "1e13"], "got total and train"),
        (
            ["--train-budget", "1e13", "--inference-budget", "-2"],
            "inference budget must be above 0 and finite, got -2",
        ),
        (
            ["--train-budget", "1e13", "--inference-budget", "1e8", "--questions", "5"],
            "questions must be left out with two budgets, got 5",
        ),
        (["--budget", "1e14", "--law", "kaplan"], "law must be one of .* got 'kaplan'"),
        (["--budget", "1e14", "--questions", "0"], "questions must be above 0"),
        (["--budget", "1e14", "--tokens", "-3"], "output_tokens must be above 0"),
        (["--budget", "10"], "the budget is too small"),
        (["--budgets", "10"], "--budgets"),
        (["--target", "0.8", "--budget", "1e14"], "either a budget or a target"),
        (["--budget", "1e14", "--max-k", "0.5"], "max_k must be at least 1, got 0.5"),
        (["--budget", "1e14", "--max-latency", "1"], "latency needs the costs of a machine"),
        (
            ["--budget", "1e14", "--html", "absent/plan.html"],
            "--html must be a file in a directory",
        ),
        (["--budget", "1e14", "--verifier", "0.9"], "verifier must be two rates T,F"),
        (["--budget", "1e14", "--verifier", "0,0.1"], "true-positive rate must be above 0"),
        (["--budget", "1e14", "--verifier", "0.9,1"], "false-positive rate must be .* below 1"),
        (
            ["--budget", "1e14", "--stop-at-first", "--law", "approach1"],
            "approach1 has only its mean: plan with the law counts or approach2",
        ),
        (["--target", "1"], "target must be a pass@k above 0 and below 1, got 1"),
        (["--budget", "10", "--usd-per-hour", "1"], "--usd-per-hour needs --profile"),
        (["--budget", "10", "--profile", "absent.json"], "absent.json: no such file"),
        (["--budget", "10", "--profile", "{profile}", "--joules"], "joules of .* are not known"),
        (["--budget", "10", "--profile", "{profile}", "--precision", "int8"], "not int8/float32"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    ladder: str,
    profile: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    given = [word.replace("{profile}", profile) for word in arguments]
    assert run(["plan", *given, "--observations", ladder]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("t2 plan: ")
    assert printed.err.count("\n") == 1
    assert re.search(message, printed.err)


def test_malformed_observations_name_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = Path(write_csv(tmp_path / "obs.csv", records(num_questions=3))).read_text().splitlines()
    cells = rows[7].split(",")
    cells[5] = "65"
    rows[7] = ",".join(cells)
    (tmp_path / "obs.csv").write_text("\n".join(rows))
    arguments = ["plan", "--budget", "1e14", "--observations"]
    assert run([*arguments, str(tmp_path / "obs.csv")]) == 2
    printed = capsys.readouterr()
    assert "obs.csv: line 8, column num_correct: expected at most num_samples = 64, got '65'" in (
        printed.err
    )
    assert printed.out == ""
    assert run([*arguments, str(tmp_path / "absent.csv")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_plan_never_imports_torch(ladder: str) -> None:
    code = (
        "import sys; from t2engine.cli.main import run; "
        f"assert run(['plan', '--budget', '1e14', '--observations', {ladder!r}, '--json']) == 0; "
        "heavy = {'torch', 'scipy', 'transformers'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["format"] == "t2engine.plan"


def test_the_shipped_ladder_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "--budget", "1e15", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["law"]["fit"]["num_checkpoints"] >= 15
    assert document["law"]["law"] == "counts"
    assert document["bands"]["num_laws"] == 50
    assert document["bands"]["N"][0] < document["t2"]["N"] < document["bands"]["N"][1]
    assert 0 < document["t2"]["pass_at_k"] <= 1
    assert document["t2"]["pass_at_k"] >= document["compute_optimal"]["pass_at_k"]
