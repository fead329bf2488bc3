from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from t2engine.cli.main import run
from t2engine.cli.study import GPU_JOBS, check_device, cores, how_to_train
from t2engine.laws.observations import read_observations
from t2engine.study import evaluate
from t2engine.study.runs import LostRunError, train_runs

MODEL = Path(evaluate.__file__).parent / "data" / "arithmetic"


def test_help_does_not_import_torch():
    code = "import sys, t2engine.cli.study; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "{empty}", "--out", "{out}"], "must be a finished run or hold some"),
        (["evaluate", "{empty}/none", "--out", "{out}"], "must be a finished run or hold some"),
        (["evaluate", "{empty}", "--out", "{out}", "--questions", "0"], "--questions"),
        (["evaluate", "{empty}", "--out", "{out}", "--samples", "-1"], "--samples"),
        (["evaluate", "{model}", "--out", "{out}", "--questions", "10001"], "at most 10000"),
        (["evaluate", "{model}", "--out", "{empty}"], "must be a file to write"),
        (["evaluate", "{empty}"], "--out"),
        (["evaluate", "--out", "{out}"], "name either a directory"),
        (["evaluate", "{model}", "--models", "m.toml", "--out", "{out}"], "name either"),
        (["evaluate", "--models", "{empty}/m.toml", "--out", "{out}"], "No such file"),
        (["evaluate", "{model}", "--tasks", "chess", "--out", "{out}"], "got 'chess'"),
        (
            ["evaluate", "{model}", "--tasks", "arithmetic,arithmetic", "--out", "{out}"],
            "different",
        ),
        (["evaluate", "{model}", "--out", "{out}", "--max-samples", "4"], "at least its first 16"),
        (["train", "--out", "{model}/config.json"], "must be a directory or absent"),
        (["train", "--out", "{empty}", "--jobs", "0"], "--jobs"),
        (["train"], "--out"),
        (["train", "--out", "{out}", "--device", "tpu"], "--device must be cpu or cuda, got 'tpu'"),
        (["train", "--out", "{empty}", "--preset", "huge"], "preset must be one of laptop, gpu"),
        (["run", "--out", "{model}/config.json"], "must be a directory or absent, got a file"),
        (["run", "--out", "{out}", "--finetune", "chess"], "task must be one of arithmetic"),
        (["finetune", "{empty}", "--task", "causal", "--out", "{out}"], "must be a finished run"),
        (["finetune", "{model}", "--task", "chess", "--out", "{out}"], "task must be one of"),
        (["evaluate", "{model}", "--tasks", "chess", "--out", "{out}"], "task must be one of"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    empty, out = tmp_path / "empty", tmp_path / "out.csv"
    empty.mkdir()
    assert (
        run(["study", *(word.format(empty=empty, out=out, model=MODEL) for word in arguments)]) == 2
    )
    error = capfd.readouterr().err.strip()
    assert words in error
    assert "\n" not in error
    assert list(tmp_path.rglob("*")) == [empty]


@pytest.mark.parametrize(
    ("jobs", "device", "want"), [(None, "cpu", cores()), (None, "cuda", GPU_JOBS), (3, "cuda", 3)]
)
def test_models_at_a_time(jobs: int | None, device: str, want: int, tmp_path: Path):
    found, train, out = how_to_train(jobs, device, None, tmp_path)
    assert (found, out) == (want, tmp_path)
    assert train is train_runs


def test_a_lost_run_is_told_in_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    def lost(*arguments: object, **options: object) -> None:
        raise LostRunError("the process that trained x ended")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("t2engine.study.runs.train_runs", lost)
        assert run(["study", "train", "--preset", "tiny", "--out", str(tmp_path / "x")]) == 1
    assert capfd.readouterr().err == "t2 study: the process that trained x ended\n"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="needs a GPU that torch can use, found none"):
        check_device("cuda", None)
    check_device("cuda", "auto")  # a cluster's machines may have some


def test_evaluate_measures_the_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out.csv"
    arguments = ["--out", str(out), "--questions", "5", "--samples", "4", "--seed", "4"]
    arguments += ["--max-samples", "4"]
    assert run(["study", "evaluate", str(MODEL), *arguments]) == 0
    shown = capsys.readouterr().out
    assert "188,992" in shown
    assert "pass@4" in shown
    assert run(["study", "evaluate", str(MODEL), *arguments, "--json"]) == 0
    [model] = json.loads(capsys.readouterr().out)["models"]
    assert (model["N"], model["questions"]) == (188_992, 5)
    assert list(model["pass_at_k"]) == ["1", "4"]
    rows = list(read_observations(out))
    assert len({row.question for row in rows}) == 5
    assert {row.num_samples for row in rows} == {4}


def test_models_of_your_own_are_asked_tasks_of_your_own(
    tmp_path: Path, tiny_dir: Path, capsys: pytest.CaptureFixture[str]
):
    """A random model, and one that is not there: named, and the exit code says so."""
    out, models, mine = tmp_path / "out", tmp_path / "models.toml", tmp_path / "mine.jsonl"
    mine.write_text('{"prompt": "Once", "answer": "upon"}\n{"prompt": "The", "answer": "end"}\n')
    models.write_text(
        f'[[model]]\nname = "tiny"\npath = "{tiny_dir}"\nD = 500\n'
        '[[model]]\nname = "gone"\npath = "gone"\nD = 600\n'
    )
    command = ["study", "evaluate", "--models", str(models), "--out", str(out), "--questions", "3"]
    command += ["--tasks", f"arithmetic,{mine}", "--samples", "2", "--max-samples", "4", "--json"]
    assert run(command) == 1
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert list(document["failed"]) == ["gone"]
    assert shown.err.startswith("t2 study evaluate: gone: ")
    assert [(row["task"], row["questions"]) for row in document["models"]] == [
        ("arithmetic", 3),
        ("mine", 2),
    ]
    assert all(0 < row["share_of_engine_rate"] < 1 for row in document["models"])
    for task, count in (("arithmetic", 3), ("mine", 2)):
        rows = list(read_observations(out / f"{task}.csv"))
        assert [row.question for row in rows[:1]] != []
        assert len(rows) == count
        assert {(row.model, row.D) for row in rows} == {("tiny", 500)}
        assert all(row.gold_nll > 0 for row in rows)
    before = (out / "mine.csv").read_bytes()
    assert run(command) == 1
    assert json.loads(capsys.readouterr().out)["models"][1]["drawn_tokens"] == 0
    assert (out / "mine.csv").read_bytes() == before
