"""A whole study of tiny models: every stage, killed and continued, and its page."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path

import pytest

from t2engine.reports.verdict_page import verdict_page
from t2engine.reports.verdict_table import headline, verdict_table
from t2engine.study import runs, study
from t2engine.study.document import verdict_document
from t2engine.study.ladder import Recipe, build_ladder
from t2engine.study.presets import TINY
from t2engine.study.study import run_study

PRESET = replace(
    TINY,
    tokens=(3_000, 6_000, 12_000, 24_000),
    recipe=Recipe(questions_per_step=128),
    sizes=(8_000, 36_000, 79_000),
    num_questions=12,
    fresh_questions=10,
    budget=2e10,
    demand_questions=1_000,
)


class Ignored:
    def put(self, told: object, /) -> None:
        pass


def train_here(todo, directory: Path, jobs: int, *, device: str, title: str) -> None:
    """Runs one after the other in this process: a process each is tested in test_runs.py."""
    for run in todo:
        if not runs.is_finished(run, directory / run.name):
            runs.train_into(directory, run, Ignored())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    directory = tmp_path_factory.mktemp("study") / "whole"
    said: list[str] = []
    verdict = run_study(PRESET, directory, 1, said.append, train=train_here)
    return directory, verdict, said


def test_every_stage_leaves_its_files(whole):
    directory, verdict, said = whole
    assert len(list((directory / "ladder").iterdir())) == 12
    for task in PRESET.tasks:
        rows = (directory / "observations" / f"{task}.csv").read_text().splitlines()
        assert len(rows) == 1 + 12 * PRESET.num_questions
    assert {path.name for path in (directory / "plans").iterdir()} == {
        "t2-1",
        "compute-optimal-1",
        "twenty-1",
    }
    assert len(verdict.trials) == len(verdict.outcomes) == 3
    for outcome in verdict.outcomes:
        assert outcome.flops == pytest.approx(PRESET.budget)
    assert [text[:6] for text in said if " of 5" in text] == [f"{i} of 5" for i in range(1, 6)]


def test_the_same_command_goes_on_and_ends_the_same(whole, monkeypatch: pytest.MonkeyPatch):
    """A finished study is read, not made again: nothing is trained and nothing drawn."""
    directory, verdict, _ = whole

    def nothing(*arguments: object, **options: object) -> None:
        raise AssertionError("was made again")

    monkeypatch.setattr("t2engine.study.runs.train", nothing)
    monkeypatch.setattr(study, "run_trial", nothing)
    monkeypatch.setattr("t2engine.study.evaluation.source.LLM", nothing)
    again = run_study(PRESET, directory, 1, lambda text: None, train=train_here)
    assert verdict_document(again) == verdict_document(verdict)


def test_another_study_is_not_mixed_in(whole):
    directory, _, _ = whole
    other = replace(PRESET, budget=1e10)
    with pytest.raises(ValueError, match="holds another study, which differs in budget"):
        run_study(other, directory, 1, lambda text: None)
    with pytest.raises(ValueError, match="must be a directory or absent"):
        run_study(PRESET, directory / "study.json", 1, lambda text: None)


def test_fresh_questions_were_never_asked(whole):
    for task, fresh in study.fresh_questions(PRESET):
        asked = task.held_out_questions(PRESET.num_questions, PRESET.recipe.seed)
        assert len(fresh) == PRESET.fresh_questions
        assert not {x.prompt for x in asked} & {x.prompt for x in fresh}


def test_the_verdict_is_one_page_and_one_table(whole):
    _, verdict, _ = whole
    document = json.loads(json.dumps(verdict_document(verdict)))
    page = verdict_page(document)
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<svg") == 4
    for outcome in document["outcomes"]:
        assert f"{outcome['pass_at_k']:.3f}" in page
    words = headline(document)
    assert words[1:] in html.unescape(page)  # the heading begins with a capital
    from rich.console import Console

    console = Console(width=120, record=True)
    console.print(verdict_table(document))
    printed = console.export_text()
    assert " ".join(words.split()[:6]) in " ".join(printed.split())
    assert "forecast" in printed


def test_finetuned_studies_ask_the_task_alone(tmp_path: Path):
    preset = replace(PRESET, finetune_task="spatial", finetune_tokens=3_000, num_questions=8)
    ladder = build_ladder([(8_000, 3_000), (36_000, 3_000)], preset.tasks, preset.recipe)
    study.train_all(preset, ladder, tmp_path / "ladder", 1, "cpu", train_here)
    assert {x.name for x in tmp_path.iterdir()} == {"ladder", "ladder-spatial"}
    study.evaluate_study(preset, tmp_path)
    assert [x.name for x in (tmp_path / "observations").glob("*.csv")] == ["spatial.csv"]
    first = json.loads((tmp_path / "ladder" / "34.5k-3k" / "training.json").read_text())
    later = json.loads((tmp_path / "ladder-spatial" / "34.5k-3k" / "training.json").read_text())
    assert first["D"] == later["D"]
    assert later["finetuning_tokens"] >= 3_000
    assert [task.name for task, _ in study.fresh_questions(preset)] == ["spatial"]


def test_a_model_that_could_not_be_asked_is_asked_the_next_time(tmp_path: Path):
    preset = replace(PRESET, num_questions=4)
    ladder = build_ladder([(8_000, 3_000), (36_000, 3_000)], preset.tasks, preset.recipe)
    study.train_all(preset, ladder, tmp_path / "ladder", 1, "cpu", train_here)
    weights = tmp_path / "ladder" / "34.5k-3k" / "model.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    with pytest.raises(ValueError, match=r"34\.5k-3k: .*must hold config.json and"):
        study.evaluate_study(preset, tmp_path)
    weights.write_bytes(kept)
    study.evaluate_study(preset, tmp_path)
    for task in preset.tasks:
        rows = (tmp_path / "observations" / f"{task}.csv").read_text().splitlines()
        assert len(rows) == 1 + 2 * preset.num_questions
