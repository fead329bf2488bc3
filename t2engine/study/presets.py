"""What a study trains, asks and spends, fixed before it starts.

    laptop   two cores, under an hour: five sizes with five token counts, arithmetic and grids
    gpu      meant for half an hour of one GPU, where it was not run yet: 1M to 100M parameters on
             all four generated tasks
    tiny     models that learn next to nothing in a minute or two, to see every stage

The budget is one sum for training and for `demand_questions` questions of k samples each, in the
FLOPs that the meter counts.

Units: sizes in parameters N, tokens in D, budget in FLOPs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from t2engine.study.ladder import Recipe
from t2engine.study.tasks.registry import task_named


@dataclass(frozen=True)
class Preset:
    """`overtrained` are pairs (N, D) beyond the grid. Questions are per task; `least_samples` and
    `most_samples` bound what one question of the ladder gets."""

    name: str
    tasks: tuple[str, ...]
    sizes: tuple[float, ...]
    tokens: tuple[int, ...]
    overtrained: tuple[tuple[float, int], ...]
    recipe: Recipe
    num_questions: int
    least_samples: int
    most_samples: int
    budget: float
    demand_questions: float
    fresh_questions: int
    plan_seeds: tuple[int, ...]  # each plan is trained once with each
    finetune_task: str | None = None  # asked in place of `tasks`, after fine-tuning on it
    finetune_tokens: int = 0

    @property
    def asked_tasks(self) -> tuple[str, ...]:
        return self.tasks if self.finetune_task is None else (self.finetune_task,)

    @property
    def pairs(self) -> list[tuple[float, int]]:
        return [(N, D) for N in self.sizes for D in self.tokens] + list(self.overtrained)

    def seeded(self, seed: int) -> Preset:
        """The same study with other weights and questions."""
        seeds = tuple(seed + 1 + i for i in range(len(self.plan_seeds)))
        return replace(self, recipe=replace(self.recipe, seed=seed), plan_seeds=seeds)


LAPTOP = Preset(
    name="laptop",
    tasks=("arithmetic", "spatial"),
    sizes=(8_000, 36_000, 79_000, 190_000, 270_000),
    tokens=(400_000, 800_000, 1_600_000, 3_200_000, 6_400_000),
    overtrained=((8_000, 12_800_000), (36_000, 12_800_000)),
    recipe=Recipe(),
    num_questions=200,
    least_samples=32,
    most_samples=256,
    budget=4e12,
    demand_questions=3e4,
    fresh_questions=1_000,
    plan_seeds=(1, 2),
)

GPU = Preset(
    name="gpu",
    tasks=("arithmetic", "knowledge", "causal", "spatial"),
    sizes=(1e6, 4e6, 12e6, 36e6, 100e6),
    tokens=(4_000_000, 12_000_000, 36_000_000, 100_000_000),
    overtrained=((1e6, 300_000_000), (4e6, 300_000_000)),
    recipe=Recipe(questions_per_step=128, reference_D=4_000_000, dtype="bfloat16"),
    num_questions=500,
    least_samples=64,
    most_samples=1024,
    budget=2e16,
    demand_questions=1e6,
    fresh_questions=2_000,
    plan_seeds=(1, 2),
)

TINY = Preset(
    name="tiny",
    tasks=("arithmetic", "spatial"),
    sizes=(8_000, 36_000, 79_000),
    tokens=(4_000, 8_000, 16_000, 32_000),
    overtrained=(),
    recipe=Recipe(),
    num_questions=16,
    least_samples=8,
    most_samples=16,
    budget=2e10,
    demand_questions=1_000,
    fresh_questions=24,
    plan_seeds=(1,),
)

PRESETS = {preset.name: preset for preset in (LAPTOP, GPU, TINY)}


def named_preset(
    name: str, seed: int | None = None, finetune: str | None = None, finetune_tokens: int = 0
) -> Preset:
    """Raises: ValueError for a name there is none of."""
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
    preset = PRESETS[name] if seed is None else PRESETS[name].seeded(seed)
    if finetune is None:
        return preset
    task_named(finetune)  # refuses one that does not exist
    return replace(preset, finetune_task=finetune, finetune_tokens=finetune_tokens)
