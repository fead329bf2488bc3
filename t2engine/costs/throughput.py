"""What a benchmark of one model found, and what follows from it: plain data and arithmetic.

    MFU = FLOPs / seconds / product peak            MBU = bytes / seconds / read peak
    gain of sharing = seconds, every row with its own copy of the prompt / seconds, one for all
    sample n + 1 costs (seconds of a step at m - seconds at n) / (m - n), m the next n measured

Sharing is faster, or slower, where the gain's logarithm is further from 0 than rounds spread: the
root of the sum of both variances of ln seconds. Anything nearer is "same".

Units:  seconds, FLOPs, bytes, tokens; rates per second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from t2engine.costs.measurements import Measurement
from t2engine.costs.steps import PrefillStep, Step
from t2engine.schema import Cost

FORMAT, VERSION = "t2engine.bench", 1
FASTER, SAME, SLOWER = "faster", "same", "slower"


@dataclass(frozen=True)
class Peaks:
    """The machine's, per second. Datasheet figures are None where nobody gave any."""

    product_flops: Mapping[str, float]  # by the weights' dtype, the best measured
    read_bytes: float  # the best measured
    datasheet_flops: float | None = None
    datasheet_bytes: float | None = None
    datasheet: str | None = None  # who says so


@dataclass(frozen=True)
class StepFigures:
    """A prefill, or one token for each of num_samples rows in the middle of their decoding."""

    num_samples: int  # 1 for a prefill
    num_prompts: int  # 1: all rows share the prompt; num_samples: each has its own copy
    prompt_tokens: int
    suffix_tokens: int  # of its own that a row attends to; 0 for a prefill
    rounds: tuple[float, ...]  # seconds, of each
    seconds: float  # their median
    spread: float  # standard deviation of ln seconds between rounds
    tokens_per_second: float
    flops: int
    bytes: int
    mfu: float
    mbu: float
    datasheet_mfu: float | None
    datasheet_mbu: float | None
    predicted_seconds: float | None
    prediction_error: float | None  # predicted / measured - 1


@dataclass(frozen=True)
class Gain:
    """Sharing the prompt beside not sharing it, for the same samples."""

    num_samples: int
    prompt_tokens: int
    ratio: float  # seconds not shared / seconds shared
    spread: float  # of ln ratio between rounds
    verdict: str  # "faster", "same" or "slower": what sharing is


@dataclass(frozen=True)
class BreakEven:
    """From where sharing pays, along n for a prompt length or along the prompt for an n."""

    along: str  # "num_samples" or "prompt_tokens"
    at: int  # the other one
    first: int | None  # the smallest measured at which sharing is faster; None: never
    everywhere: bool  # at every one measured
    not_at: tuple[int, ...]  # beyond `first`, where it is not


@dataclass(frozen=True)
class MarginalCost:
    """Of sample num_samples + 1, for each of its tokens."""

    num_samples: int
    next_samples: int  # the other end of the difference
    prompt_tokens: int
    seconds: float
    error: float  # standard error, from the spread of rounds
    of_first: float  # of what the first sample costs


@dataclass(frozen=True)
class CallFigures:
    """Whole calls that draw num_samples of new_tokens each; decoding is all after the first."""

    engine: str
    precision: str
    num_samples: int
    prompt_tokens: int
    new_tokens: int
    rounds: tuple[float, ...]  # seconds of a call
    tokens_per_second: float
    decode_tokens_per_second: float
    step_seconds: float  # of decoding, a step
    over_step: float | None  # step_seconds / the step timed alone; None for a peer
    ours_over: float | None  # our tokens per second of decoding / this peer's


@dataclass(frozen=True)
class BenchResult:
    format: str
    version: int
    model: str
    parameters: int
    precision: str  # weights/cache
    threads: int
    machine: Mapping[str, Any]
    conditions: Mapping[str, Any]
    peaks: Peaks
    prefill: tuple[StepFigures, ...]
    decode: tuple[StepFigures, ...]
    gains: tuple[Gain, ...]
    break_even: tuple[BreakEven, ...]
    marginal: tuple[MarginalCost, ...]
    calls: tuple[CallFigures, ...]
    peers_left_out: Mapping[str, str]  # by name, why
    notes: tuple[str, ...]
    busy: bool  # others used the machine in too many rounds


def figures_of(
    step: Step,
    rounds: tuple[float, ...],
    cost: Cost,
    peaks: Peaks,
    weights: str,
    predicted: float | None = None,
) -> StepFigures:
    """weights: the dtype, whose product peak counts."""
    timing = Measurement("", {}, rounds)
    seconds = timing.median
    if isinstance(step, PrefillStep):
        shape, tokens = (1, 1, step.prompt_len, 0), step.prompt_len
    else:
        sizes = step.num_samples, step.num_prompts, step.prefix_len, step.suffix_len
        shape, tokens = tuple(map(int, sizes)), int(step.num_samples)  # type: ignore[assignment]

    def share(work: int, peak: float | None) -> float | None:
        return None if peak is None else work / seconds / peak

    return StepFigures(
        *shape,
        rounds=rounds,
        seconds=seconds,
        spread=timing.spread,
        tokens_per_second=tokens / seconds,
        flops=cost.flops,
        bytes=cost.bytes,
        mfu=cost.flops / seconds / peaks.product_flops[weights],
        mbu=cost.bytes / seconds / peaks.read_bytes,
        datasheet_mfu=share(cost.flops, peaks.datasheet_flops),
        datasheet_mbu=share(cost.bytes, peaks.datasheet_bytes),
        predicted_seconds=predicted,
        prediction_error=None if predicted is None else predicted / seconds - 1,
    )


def is_shared(step: StepFigures) -> bool:
    return step.num_prompts == 1


def gains_of(decode: Sequence[StepFigures]) -> list[Gain]:
    """For every shape of more than one sample that was timed shared and not."""
    apart = {(s.num_samples, s.prompt_tokens): s for s in decode if not is_shared(s)}
    gains = []
    for shared in filter(is_shared, decode):
        other = apart.get((shared.num_samples, shared.prompt_tokens))
        if other is not None:
            ratio, spread = other.seconds / shared.seconds, math.hypot(shared.spread, other.spread)
            shape = shared.num_samples, shared.prompt_tokens
            gains.append(Gain(*shape, ratio, spread, verdict_of(ratio, spread)))
    return gains


def verdict_of(ratio: float, spread: float) -> str:
    if abs(math.log(ratio)) <= spread:
        return SAME
    return FASTER if ratio > 1 else SLOWER


def break_evens(gains: Sequence[Gain]) -> list[BreakEven]:
    """Along the samples for each prompt length, then along the prompt for each n."""
    found = []
    for along, fixed in (("num_samples", "prompt_tokens"), ("prompt_tokens", "num_samples")):
        for at in sorted({getattr(gain, fixed) for gain in gains}):
            line = sorted(
                (getattr(gain, along), gain.verdict == FASTER)
                for gain in gains
                if getattr(gain, fixed) == at
            )
            first = next((size for size, pays in line if pays), None)
            not_at = tuple(s for s, pays in line if first is not None and s > first and not pays)
            everywhere = all(pays for _, pays in line)
            found.append(BreakEven(along, at, first, everywhere, not_at))
    return found


def marginal_costs(decode: Sequence[StepFigures]) -> list[MarginalCost]:
    """Between neighbouring n of each prompt length, shared; n = 1 must be among them."""
    costs = []
    shared = [step for step in decode if is_shared(step)]
    for prompt in sorted({step.prompt_tokens for step in shared}):
        line = sorted(
            (step for step in shared if step.prompt_tokens == prompt), key=lambda s: s.num_samples
        )
        first = line[0].seconds
        for step, following in pairwise(line):
            more = following.num_samples - step.num_samples
            errors = [s.seconds * Measurement("", {}, s.rounds).error for s in (step, following)]
            seconds = (following.seconds - step.seconds) / more
            costs.append(
                MarginalCost(
                    *(step.num_samples, following.num_samples, prompt, seconds),
                    error=math.hypot(*errors) / more,
                    of_first=seconds / first,
                )
            )
    return costs
