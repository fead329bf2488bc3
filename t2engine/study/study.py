"""The study: train a ladder, ask it, fit the law, plan, train the plans, and see who was right.

    study.json           what was asked for; another study in the same directory is refused
    ladder/<run>/        every trained model with its record
    observations/        <task>.csv and its journals
    plans/<plan>-<seed>/ the T² plan, the compute-optimal one and that of 20 tokens a parameter
    ladder-<task>/, plans-<task>/    the same models fine-tuned, where the study asks that
    trials/              what each answered to questions that nobody was asked before
    verdict.json         the law, both plans, forecasts, what was measured, the difference

Every stage goes on from what is there, so a study that was killed is run again with the same
command and ends in the same files.

Raises: ValueError for a directory of another study.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from t2engine.costs.formula import Demand
from t2engine.engine.progress import progress_bar
from t2engine.files import write_text
from t2engine.laws.observations import read_observations
from t2engine.laws.splits import counts_ladder
from t2engine.study.evaluation.ask import Inquiry
from t2engine.study.evaluation.checkpoints import read_ladder
from t2engine.study.evaluation.ladder import evaluate_checkpoints
from t2engine.study.evaluation.rule import StoppingRule
from t2engine.study.forecast import Forecast, Tried, forecast
from t2engine.study.ladder import Run, build_ladder, build_run, finetuned
from t2engine.study.ladder_cost import ladder_cost
from t2engine.study.presets import Preset
from t2engine.study.runs import TrainRuns, read_record, train_runs
from t2engine.study.tasks.registry import task_named
from t2engine.study.trials import Asked, read_trial, run_trial, write_trial
from t2engine.study.verdict import Difference, Outcome, Trial, compare, outcome

LADDER, PLANS = "ladder", "plans"
T2, COMPUTE_OPTIMAL, TWENTY = "t2", "compute-optimal", "twenty"
SPARE_SAMPLES = 1.3  # drawn over those planned, since measured costs shift k a little

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Verdict:
    preset: Preset
    forecast: Forecast
    demand: Demand
    outcomes: tuple[Outcome, ...]
    differences: tuple[Difference, ...]
    trials: tuple[Trial, ...]


def run_study(
    preset: Preset,
    directory: Path,
    jobs: int,
    say: Say,
    *,
    device: str = "cpu",
    train: TrainRuns = train_runs,
) -> Verdict:
    claim_directory(preset, directory)
    say(
        f"study {preset.name}: {preset.budget:.3g} FLOPs for each plan, its training and k samples "
        f"of {preset.demand_questions:,.0f} questions; the ladder comes before that"
    )
    ladder = build_ladder(preset.pairs, preset.tasks, preset.recipe)
    say(f"1 of 5: train {len(ladder)} models on {' and '.join(preset.tasks)}")
    train_all(preset, ladder, directory / LADDER, jobs, device, train)
    say(f"2 of 5: ask them {preset.num_questions} questions of {' and '.join(preset.asked_tasks)}")
    evaluate_study(preset, directory)
    say("3 of 5: fit the law and plan")
    demand = demand_of(preset)
    found = plan_study(preset, directory, demand)
    say(words_of("T²", found.t2))
    say(words_of("compute-optimal", found.compute_optimal))
    say(words_of("20 tokens a parameter", found.twenty))
    runs = plan_runs(preset, found)
    say(f"4 of 5: train these plans, {len(preset.plan_seeds)} times each")
    train_all(preset, [run for _, run, _ in runs], directory / PLANS, jobs, device, train)
    say(f"5 of 5: ask them {preset.fresh_questions} fresh questions of each task")
    trials = run_trials(preset, directory, runs)
    return judge(preset, found, demand, trials)


def train_all(
    preset: Preset,
    runs: Sequence[Run],
    directory: Path,
    jobs: int,
    device: str,
    train: TrainRuns,
) -> None:
    """Train the runs, and fine-tune each where the study asks that."""
    train(runs, directory, jobs, device=device, title=directory.name)
    if preset.finetune_task is not None:
        later = [
            finetuned(run, str(directory / run.name), preset.finetune_task, preset.finetune_tokens)
            for run in runs
        ]
        train(later, asked_directory(preset, directory), jobs, device=device, title="finetuning")


def asked_directory(preset: Preset, directory: Path) -> Path:
    """Where the models are that will be asked."""
    if preset.finetune_task is None:
        return directory
    return directory.with_name(f"{directory.name}-{preset.finetune_task}")


def claim_directory(preset: Preset, directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} must be a directory or absent, got a file")
    path = directory / "study.json"
    wanted = json.loads(json.dumps(asdict(preset)))
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(wanted, indent=2) + "\n")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a JSON object: {error}") from error
    different = sorted(key for key in wanted if found.get(key) != wanted[key])
    if different:
        raise ValueError(
            f"{directory} holds another study, which differs in {', '.join(different)}; choose "
            "another directory or remove it"
        )


def evaluate_study(preset: Preset, directory: Path) -> None:
    """Counts that the journals have are not drawn again."""
    rule = StoppingRule(first=preset.least_samples, most=preset.most_samples)
    tasks = [task_named(name) for name in preset.asked_tasks]
    seed = preset.recipe.seed
    inquiries = [
        Inquiry(task, task.held_out_questions(preset.num_questions, seed), rule, seed)
        for task in tasks
    ]
    checkpoints, failures = read_ladder(asked_directory(preset, directory / LADDER))
    outs = {task.name: directory / "observations" / f"{task.name}.csv" for task in tasks}
    result = evaluate_checkpoints(checkpoints, inquiries, outs, failures=failures)
    if result.failures:
        raise ValueError("; ".join(f"{x.name}: {x.reason}" for x in result.failures))


def demand_of(preset: Preset) -> Demand:
    """Tokens of prompts and of gold answers: means over the ladder's questions of all tasks."""
    prompts, answers = [], []
    seed = preset.recipe.seed
    for name in preset.asked_tasks:
        for question in task_named(name).held_out_questions(preset.num_questions, seed):
            prompts.append(1 + len(question.prompt))
            answers.append(len(question.completion) + 1)
    return Demand(preset.demand_questions, float(np.mean(answers)), float(np.mean(prompts)))


def plan_study(preset: Preset, directory: Path, demand: Demand) -> Forecast:
    ladders = {
        name: counts_ladder(read_observations(directory / "observations" / f"{name}.csv"))
        for name in preset.asked_tasks
    }
    runs = build_ladder(preset.pairs, preset.tasks, preset.recipe)
    records = [read_record(directory / LADDER / run.name) for run in runs]
    sizes = [float(run.N) for run in runs]
    cost = ladder_cost(records, demand, sizes)
    return forecast(ladders, cost, preset.budget, demand, sizes)


PlannedRun = tuple[str, Run, Tried]


def plan_runs(preset: Preset, found: Forecast) -> list[PlannedRun]:
    """Every plan with every seed, dearest first."""
    planned = []
    plans = {T2: found.t2, COMPUTE_OPTIMAL: found.compute_optimal, TWENTY: found.twenty}
    for plan, tried in plans.items():
        for seed in preset.plan_seeds:
            recipe = replace(preset.recipe, seed=seed)
            run = build_run(tried.N, tried.D, preset.tasks, recipe)
            assert run.N == tried.N
            planned.append((plan, replace(run, name=f"{plan}-{seed}"), tried))
    return sorted(planned, key=lambda x: x[1].N * x[1].D, reverse=True)


def run_trials(preset: Preset, directory: Path, runs: Sequence[PlannedRun]) -> list[Trial]:
    asked = fresh_questions(preset)
    return [settled_trial(preset, directory, planned, asked) for planned in runs]


def settled_trial(preset: Preset, directory: Path, planned: PlannedRun, asked: Asked) -> Trial:
    """With as many samples as the budget leaves; drawn again with more where answers turn out
    cheaper than those they were planned by."""
    num_samples = math.ceil(SPARE_SAMPLES * planned[2].k) + 1
    while True:
        trial = one_trial(preset, directory, planned, asked, num_samples)
        most = trial.flops.samples_for(preset.budget, preset.demand_questions)
        if most <= num_samples:
            return trial
        num_samples = math.ceil(most) + 1


def one_trial(
    preset: Preset, directory: Path, planned: PlannedRun, asked: Asked, num_samples: int
) -> Trial:
    plan, run, _ = planned
    model_dir = asked_directory(preset, directory / PLANS) / run.name
    settings = trial_settings(preset, num_samples, read_record(model_dir))
    path = directory / "trials" / f"{run.name}-{num_samples}.json"
    trial = read_trial(path, settings)
    if trial is None:
        count = sum(len(questions) for _, questions in asked)
        with progress_bar(run.name, count, None) as advance:
            trial = run_trial(plan, model_dir, asked, num_samples, preset.recipe.seed, advance)
        write_trial(path, trial, settings)
    return trial


def fresh_questions(preset: Preset) -> Asked:
    """Of each task, those that follow the ones the ladder was asked."""
    found = []
    for name in preset.asked_tasks:
        task = task_named(name)
        count = preset.num_questions + preset.fresh_questions
        questions = task.held_out_questions(count, preset.recipe.seed)
        found.append((task, questions[preset.num_questions :]))
    return found


def trial_settings(preset: Preset, num_samples: int, record: dict[str, Any]) -> dict[str, Any]:
    return {
        "tasks": preset.asked_tasks,
        "num_questions": preset.num_questions,
        "fresh_questions": preset.fresh_questions,
        "num_samples": num_samples,
        "seed": preset.recipe.seed,
        "run": record["run"],
    }


def judge(preset: Preset, found: Forecast, demand: Demand, trials: Sequence[Trial]) -> Verdict:
    budget, questions = preset.budget, preset.demand_questions
    outcomes = []
    for trial in trials:
        k = trial.flops.samples_for(budget, questions)
        predicted = float(found.law.pass_at_k(trial.N, trial.D, k))
        band = found.band(trial.N, trial.D, k)
        outcomes.append(outcome(trial, budget, questions, predicted, band))
    by_plan = {
        plan: sorted((x for x in trials if x.plan == plan), key=lambda x: x.seed)
        for plan in (T2, COMPUTE_OPTIMAL, TWENTY)
    }
    differences = [
        row
        for plan in (COMPUTE_OPTIMAL, TWENTY)
        for row in compare(by_plan[T2], by_plan[plan], budget, questions)
    ]
    return Verdict(preset, found, demand, tuple(outcomes), tuple(differences), tuple(trials))


def words_of(plan: str, tried: Tried) -> str:
    return (
        f"{plan}: N = {tried.N:,}, D = {tried.D:,}, k = {tried.k:.1f}, "
        f"predicted pass@k {tried.pass_at_k:.3f}"
    )
