"""What a calibration measures: few points, well spread, and which of them no fit will see.

Steps are points of a Halton sequence over (samples, prompts, prefix, suffix), each in the
logarithm; every model shape goes on where the last one stopped. Held out, by rule and before
anything is measured: the model shapes that are third and sixth in order of size, whole, and of the
other shapes every fourth point. Points of the grid that shows what sharing gains are held out like
a chessboard's black squares.

Units:  tokens, rows; seconds are estimates, for leaving out what would take too long.
Source: Halton, Numerische Mathematik 2, 1960, for the sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from scipy.stats import qmc

from t2engine.costs.ladder import ladder_shape
from t2engine.costs.steps import DecodeStep, PrefillStep, Step
from t2engine.engine.slabs import SLAB_STEPS
from t2engine.hardware.device_steps import num_steps
from t2engine.metering import decode_flops, key_value_bytes, prefill_flops
from t2engine.schema import ModelConfig, Precision

MOST_SAMPLES = 256
LEAST_PREFIX, PREFIX_DOUBLINGS = 16, 9  # up to 8,192
SUFFIXES = (1, 512)  # the least and the most
SHARED, UNSHARED = 0.6, 0.8  # of the last coordinate: one prompt below, a prompt a sample above
HELD_OUT_SHAPES = (2, 5)
EVERY = 4  # point of a shape is held out
PROMPTS = (24, 64, 128, 256, 512, 1024, 2048, 4096)
SHARING_PROMPTS = (128, 512, 2048, 8192)
SHARING_SAMPLES = (2, 8, 32, 128, 256)
SHARING_SHAPE = (256, 8192)  # hidden size and vocabulary: 6M parameters
ROOM_OF_STEPS = 16  # columns that a measured step may run on
TRIES = 400  # points of the sequence looked at for one shape, at most


@dataclass(frozen=True)
class Effort:
    """How much is measured, and how long it may take."""

    shapes: tuple[tuple[int, int], ...]  # hidden size and vocabulary
    training_shapes: tuple[tuple[int, int], ...]
    training_batches: tuple[tuple[int, int], ...]  # rows and tokens of each
    steps_of_shape: int
    sharing_prompts: tuple[int, ...]
    sharing_samples: tuple[int, ...]
    step_seconds: float  # no step that is estimated to take longer
    seconds: float  # of measuring in all, after which no round begins
    fewest_rounds: int
    most_rounds: int
    store_bytes: int  # for keys and values of a model under measurement
    most_samples: int = MOST_SAMPLES
    suffixes: tuple[int, int] = SUFFIXES
    prompts: tuple[int, ...] = PROMPTS
    sharing_shape: tuple[int, int] = SHARING_SHAPE
    # Where a step is timed in a whole call (device_steps.py): what the call may take.
    call_seconds: float | None = None


FULL = Effort(
    shapes=(
        *((64, 512), (96, 4096), (160, 2048), (256, 8192)),
        *((384, 4096), (512, 16384), (768, 32000), (1024, 8192)),
    ),
    training_shapes=(
        *((32, 512), (48, 1024), (96, 2048), (128, 1024)),
        *((256, 8192), (192, 512), (384, 4096)),
    ),
    training_batches=((32, 32), (8, 128), (16, 256)),
    steps_of_shape=14,
    sharing_prompts=SHARING_PROMPTS,
    sharing_samples=SHARING_SAMPLES,
    step_seconds=0.12,
    seconds=285.0,
    fewest_rounds=3,
    most_rounds=16,
    store_bytes=400 << 20,
)
QUICK = Effort(
    shapes=(
        *((64, 512), (96, 4096), (160, 2048), (256, 8192)),
        *((384, 4096), (512, 16384), (640, 8192)),
    ),
    training_shapes=(
        *((32, 512), (48, 1024), (64, 512), (96, 2048)),
        *((128, 1024), (160, 512), (256, 4096)),
    ),
    training_batches=((32, 32), (8, 128)),
    steps_of_shape=13,
    sharing_prompts=(128, 1024, 8192),
    sharing_samples=(2, 16, 256),
    step_seconds=0.05,
    seconds=34.0,
    fewest_rounds=3,
    most_rounds=14,
    store_bytes=300 << 20,
)
# A GPU's steps are whole calls, and its models are larger. Those at the end need not fit. Its
# seconds are estimated by float32's rate; in 16 bits products are ten times as fast.
GPU_FULL = Effort(
    shapes=(
        *((128, 4096), (256, 8192), (512, 16384), (768, 32000), (1024, 8192)),
        *((1536, 32000), (2048, 32000), (3072, 32000), (4096, 32000)),
    ),
    training_shapes=(
        *((128, 1024), (256, 8192), (384, 4096), (512, 16384)),
        *((768, 8192), (1024, 32000), (1280, 8192)),
    ),
    training_batches=((8, 256), (32, 512), (8, 2048)),
    steps_of_shape=14,
    sharing_prompts=SHARING_PROMPTS,
    sharing_samples=(2, 16, 64, 256, 1024),
    step_seconds=2.0,
    seconds=285.0,
    fewest_rounds=3,
    most_rounds=16,
    store_bytes=1 << 30,
    most_samples=1024,
    suffixes=(16, 128),
    prompts=(64, 256, 1024, 2048, 4096, 16384),
    sharing_shape=(1024, 8192),
    call_seconds=6.0,
)
GPU_QUICK = replace(
    GPU_FULL,
    shapes=(
        *((128, 4096), (256, 8192), (512, 16384), (768, 32000)),
        *((1024, 8192), (1536, 32000), (2048, 32000)),
    ),
    training_shapes=((128, 1024), (256, 8192), (384, 4096), (512, 16384), (768, 8192)),
    training_batches=((8, 256), (32, 512)),
    steps_of_shape=10,
    sharing_prompts=(128, 1024, 8192),
    sharing_samples=(2, 32, 512),
    seconds=45.0,
    suffixes=(16, 64),
    call_seconds=3.0,
)


@dataclass(frozen=True)
class Planned:
    """A step of one model, and whether it is kept from the fit."""

    config: ModelConfig
    precision: Precision
    step: Step
    held_out: bool


def planned_steps(
    effort: Effort, precision: Precision, flops_per_second: float, with_sharing: bool
) -> list[list[Planned]]:
    """For each shape, its steps. flops_per_second: a careful guess, to estimate seconds by.

    with_sharing: the grid of sharing as well, on its own shape, as the last list.
    """
    halton = qmc.Halton(4, scramble=False)
    halton.fast_forward(1)  # the origin
    plans = []
    for number, shape in enumerate(effort.shapes):
        config = ladder_shape(*shape)
        whole = number in HELD_OUT_SHAPES
        decode: list[Step] = [*spread_steps(halton, effort, config, precision, flops_per_second)]
        prefill: list[Step] = [
            PrefillStep(length)
            for length in effort.prompts
            if prefill_flops(config, length) <= effort.step_seconds * 2 * flops_per_second
            and key_value_bytes(config, length, precision) <= effort.store_bytes // 2
        ]
        plans.append(
            [
                Planned(config, precision, step, whole or index % EVERY == EVERY - 1)
                for steps in (decode, prefill)
                for index, step in enumerate(steps)
            ]
        )
    if with_sharing:
        plans.append(list(sharing_grid(effort, precision, flops_per_second)))
    return plans


def spread_steps(
    halton: qmc.Halton,
    effort: Effort,
    config: ModelConfig,
    precision: Precision,
    flops_per_second: float,
) -> list[DecodeStep]:
    steps: list[DecodeStep] = []
    for _ in range(TRIES):
        if len(steps) == effort.steps_of_shape:
            break
        point = halton.random(1)[0].tolist()
        step = decode_step_at(point, effort.most_samples, effort.suffixes)
        short = step_flops(config, step) <= effort.step_seconds * flops_per_second
        if not short or store_bytes(config, precision, step) > effort.store_bytes // 2:
            continue
        if is_call_short(effort, config, precision, step, flops_per_second):
            steps.append(step)
    return steps


def decode_step_at(
    point: Sequence[float],
    most_samples: int = MOST_SAMPLES,
    suffixes: tuple[int, int] = SUFFIXES,
) -> DecodeStep:
    """A step for a point of the unit cube."""
    doublings = most_samples.bit_length() - 1
    least, most = suffixes
    num_samples = round(2 ** (doublings * point[0]))
    kind = point[3]
    if kind < SHARED:
        prompts = 1
    elif kind < UNSHARED:
        prompts = num_samples
    else:
        prompts = round(num_samples ** ((kind - UNSHARED) / (1 - UNSHARED)))
    return DecodeStep(
        num_samples=num_samples,
        num_prompts=prompts,
        prefix_len=round(LEAST_PREFIX * 2 ** (PREFIX_DOUBLINGS * point[1])),
        suffix_len=round(least * (most / least) ** point[2]),
    )


def step_flops(config: ModelConfig, step: DecodeStep) -> int:
    context_len = int(step.prefix_len + step.suffix_len)
    return int(step.num_samples) * decode_flops(config, context_len)


def is_call_short(
    effort: Effort,
    config: ModelConfig,
    precision: Precision,
    step: DecodeStep,
    flops_per_second: float,
) -> bool:
    """Whether the call that a step is timed in takes no longer than it may, and fits."""
    if effort.call_seconds is None:
        return True
    prompts = int(step.num_prompts) * prefill_flops(config, int(step.prefix_len))
    flops = prompts + num_steps(step) * step_flops(config, step)
    columns = num_steps(step) + 2 * SLAB_STEPS  # whole slabs
    tokens = step.num_prompts * step.prefix_len + step.num_samples * columns
    fits = key_value_bytes(config, int(tokens), precision) <= effort.store_bytes
    return fits and flops <= effort.call_seconds * flops_per_second


def store_bytes(config: ModelConfig, precision: Precision, step: DecodeStep) -> int:
    """Of one copy of a prompt and of all the samples' own keys."""
    own = step.num_samples * (step.suffix_len + ROOM_OF_STEPS)
    return key_value_bytes(config, int(step.prefix_len + own), precision)


def sharing_grid(
    effort: Effort, precision: Precision, flops_per_second: float
) -> Iterator[Planned]:
    """Every prompt length with every number of samples, shared and not."""
    config = ladder_shape(*effort.sharing_shape)
    for i, length in enumerate(effort.sharing_prompts):
        for j, samples in enumerate(effort.sharing_samples):
            for prompts in (1, samples):
                step = DecodeStep(samples, prompts, length, ROOM_OF_STEPS)
                if is_call_short(effort, config, precision, step, flops_per_second):
                    yield Planned(config, precision, step, (i + j) % 2 == 1)
