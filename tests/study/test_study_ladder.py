"""The rules that every number of a run follows from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from t2engine.metering import parameter_count
from t2engine.study.ladder import (
    CONTEXT_LEN,
    Recipe,
    build_ladder,
    build_run,
    finetuned,
    learning_rate,
    shape,
    short,
)
from t2engine.study.presets import LAPTOP, PRESETS, named_preset
from t2engine.study.tokenizer import VOCAB_SIZE

TASKS = ("arithmetic", "spatial")


@pytest.mark.parametrize("N", [36_000, 1e5, 1e6, 1e7, 1e8, 1e9])
def test_a_shape_is_near_the_size_aimed_at(N: float):
    config = shape(N)
    assert parameter_count(config) == pytest.approx(N, rel=0.35)
    assert config.vocab_size == VOCAB_SIZE
    assert config.max_context_len == CONTEXT_LEN


def test_a_shape_is_a_fixed_point():
    for N in (36_000, 290_000, 1e7):
        config = shape(N)
        assert shape(parameter_count(config)) == config


def test_learning_rate_warms_up_and_falls_to_zero():
    recipe = Recipe()
    N = recipe.reference_N
    assert learning_rate(recipe, N, recipe.warmup_share) == recipe.peak_learning_rate
    assert learning_rate(recipe, N, recipe.warmup_share / 2) == recipe.peak_learning_rate / 2
    assert learning_rate(recipe, N, 1.0) == learning_rate(recipe, N, 1.01) == 0
    half_way = (1 + recipe.warmup_share) / 2
    assert learning_rate(recipe, N, half_way) == pytest.approx(recipe.peak_learning_rate / 2)
    quarter = learning_rate(recipe, 4 * N, 0.5)
    assert quarter == pytest.approx(learning_rate(recipe, N, 0.5) / 2)


def test_steps_grow_as_the_square_root_of_the_tokens():
    def at(D: int) -> int:
        return build_run(36_000, D, TASKS, Recipe()).questions_per_step

    assert at(1_000_000) == 32
    assert at(4_000_000) == 64
    assert at(16_000_000) == 128
    assert at(100) == 16
    assert all(at(round(D)) % 16 == 0 for D in (3e5, 7e5, 2e6, 9e6))


def test_a_ladder_is_dearest_first_and_its_names_differ():
    runs = build_ladder(LAPTOP.pairs, LAPTOP.tasks, LAPTOP.recipe)
    assert len({run.name for run in runs}) == len(runs) == len(LAPTOP.pairs)
    assert [run.N * run.D for run in runs] == sorted((r.N * r.D for r in runs), reverse=True)
    assert [run.N for run in runs] == [parameter_count(run.config) for run in runs]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_presets_ask_what_the_study_needs(preset):
    runs = build_ladder(preset.pairs, preset.tasks, preset.recipe)
    assert len({run.N for run in runs}) >= 3
    assert len(runs) >= 10
    assert len(preset.tasks) >= 2
    assert preset.recipe.seed not in preset.plan_seeds  # plans are not models of the ladder
    if preset.name != "tiny":
        assert len({run.N for run in runs}) >= 5
        assert preset.fresh_questions >= 500
        assert len(preset.plan_seeds) >= 2
        assert max(run.D / run.N for run in runs) > 100
        assert min(run.D / run.N for run in runs) < 20


def test_the_laptop_has_five_sizes_and_five_token_counts():
    assert len(LAPTOP.sizes) >= 5
    assert len(LAPTOP.tokens) >= 5


def test_a_preset_by_name_with_another_seed_and_a_task_to_finetune_on():
    preset = named_preset("tiny", seed=7, finetune="causal", finetune_tokens=10)
    assert preset.recipe.seed == 7
    assert set(preset.plan_seeds) == {8}
    assert preset.asked_tasks == ("causal",)
    assert preset.tasks == TASKS
    with pytest.raises(ValueError, match="preset must be one of laptop, gpu, tiny, got 'huge'"):
        named_preset("huge")
    with pytest.raises(ValueError, match="task must be one of"):
        named_preset("tiny", finetune="sums")


def test_finetuning_goes_on_at_a_lower_rate():
    run = build_run(36_000, 1_000_000, TASKS, Recipe())
    later = finetuned(run, "somewhere", "causal", 5_000)
    assert (later.name, later.N, later.base) == (run.name, run.N, "somewhere")
    assert (later.D, later.tasks) == (5_000, ("causal",))
    assert later.recipe.peak_learning_rate == run.recipe.peak_learning_rate / 4
    assert replace(later.recipe, peak_learning_rate=run.recipe.peak_learning_rate) == run.recipe


@pytest.mark.parametrize(
    ("count", "words"), [(43_872, "43.9k"), (500_000, "500k"), (4_000_000, "4M"), (1.5e6, "1.5M")]
)
def test_short(count: int, words: str):
    assert short(count) == words


def test_shapes_grow_with_the_size_aimed_at():
    sizes = [build_run(10**e, 1_000, TASKS, Recipe()).N for e in (4, 4.5, 5, 5.5, 6, 7, 8, 9)]
    assert sizes == sorted(set(sizes))
