"""What a model costs on a calibrated machine: a prefill, a decode step, a call, a training step.

    costs = MachineCosts(read_profile("machine.json"), "bfloat16")
    costs.decode_step(N=30e6, num_samples=64, prefix_len=512, suffix_len=32).seconds

A model is a ModelConfig, or N parameters, which stands for the rungs of costs.ladder on both sides
of it, interpolated in logarithms. Every estimate has an interval of 90 %.

Units:  seconds, FLOPs, bytes; lengths are tokens; joules and money are priced in pricing.py.
Raises: ValueError for a precision that the profile does not have, and where weights, keys and
        values do not fit the machine's memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from t2engine import metering
from t2engine.costs.ladder import DEFAULT_VOCAB_SIZE, rungs
from t2engine.costs.measurements import parse_precision, show_precision
from t2engine.costs.profile import HardwareProfile
from t2engine.costs.step_fit import Interval, StepFit
from t2engine.costs.steps import Array, DecodeStep, PrefillStep, Step
from t2engine.costs.training_time import tabulate_training
from t2engine.schema import ModelConfig, Precision

GIBIBYTE = 1 << 30
NUMBERS = ("seconds", "low", "high", "run_low", "run_high", "flops", "bytes")
NODES = 3  # of the Gauss-Legendre rule over the tokens of a sample


@dataclass(frozen=True)
class Estimate:
    """A prediction, and what it counts. Intervals of 90 %: low to high of the typical seconds (the
    median over minutes), run_low to run_high of one run at one moment."""

    seconds: float
    low: float
    high: float
    run_low: float
    run_high: float
    flops: float
    bytes: float
    beyond: tuple[str, ...] = ()  # in what it lies outside the shapes that were measured

    def scaled(self, factor: float) -> Estimate:
        return of_numbers(lambda name: factor * float(getattr(self, name)), self.beyond)


def add(estimates: Sequence[Estimate]) -> Estimate:
    """Their sum; errors of one model of time go together, so ends add to ends."""
    beyond = tuple(dict.fromkeys(b for e in estimates for b in e.beyond))
    return of_numbers(lambda name: sum(float(getattr(e, name)) for e in estimates), beyond)


def between(lower: Estimate, upper: Estimate, share: float) -> Estimate:
    """The geometric mean of two, `upper` having this share."""

    def mean(name: str) -> float:
        a, b = getattr(lower, name), getattr(upper, name)
        return math.exp((1 - share) * math.log(a) + share * math.log(b))

    return of_numbers(mean, tuple(dict.fromkeys(lower.beyond + upper.beyond)))


def first_of(interval: Interval, flops: Array, size: Array) -> Estimate:
    return Estimate(
        seconds=float(interval.value[0]),
        low=float(interval.low[0]),
        high=float(interval.high[0]),
        run_low=float(interval.run_low[0]),
        run_high=float(interval.run_high[0]),
        flops=float(flops[0]),
        bytes=float(size[0]),
        beyond=interval.beyond[0],
    )


def of_numbers(number: Callable[[str], float], beyond: tuple[str, ...]) -> Estimate:
    return Estimate(**{name: number(name) for name in NUMBERS}, beyond=beyond)


class MachineCosts:
    """Predictions from one profile for weights and cache of one precision.

    precision: weights/cache, or the weights alone, for a cache of float32.
    vocab_size: of the models that N stands for.
    """

    def __init__(
        self,
        profile: HardwareProfile,
        precision: str = "float32",
        vocab_size: int = DEFAULT_VOCAB_SIZE,
    ) -> None:
        self.profile, self.vocab_size = profile, vocab_size
        self.precision: Precision = parse_precision(precision)
        name = show_precision(self.precision)
        if name not in profile.steps:
            raise ValueError(
                f"the profile of {profile.machine} has {', '.join(profile.steps) or 'no steps'}, "
                f"not {name}; calibrate again with --precision {name}"
            )
        self.fit: StepFit = profile.steps[name]

    @cached_property
    def memory_bytes(self) -> int:
        return int(self.profile.measured.machine["memory_available_bytes"])

    @cached_property
    def sample_seconds(self) -> float:
        """What the host does for a sample beside the steps."""
        found = [point.median for point in self.profile.measured.of_kind("sample")]
        return found[0] if found else 0.0

    def prefill(self, model: ModelConfig | float, prompt_len: int) -> Estimate:
        """One prompt alone, and the logits after it."""
        return self.of_model(model, lambda c: self.step(c, PrefillStep(prompt_len)))

    def decode_step(
        self,
        model: ModelConfig | float,
        num_samples: float,
        prefix_len: float,
        suffix_len: float = 1,
        num_prompts: float = 1,
    ) -> Estimate:
        """One token for each sample."""
        step = DecodeStep(num_samples, num_prompts, max(prefix_len, 1), suffix_len)
        return self.of_model(model, lambda c: self.step(c, step))

    def decode(
        self,
        model: ModelConfig | float,
        num_samples: float,
        prefix_len: float,
        new_tokens: int,
        num_prompts: float = 1,
    ) -> Estimate:
        """All tokens of the samples but the first, which the prompt's logits give."""
        steps = new_tokens - 1
        nodes, weights = np.polynomial.legendre.leggauss(min(NODES, max(steps, 1)))
        lengths = 1 + (nodes + 1) / 2 * max(steps - 1, 0)
        return add(
            [
                self.decode_step(model, num_samples, prefix_len, length, num_prompts).scaled(
                    steps * weight / 2
                )
                for length, weight in zip(lengths, weights, strict=True)
            ]
        )

    def call(
        self, model: ModelConfig | float, num_samples: int, prompt_len: int, new_tokens: int
    ) -> Estimate:
        """LLM.generate with one prompt: prefill, and decoding all samples side by side."""
        decoding = self.decode(model, num_samples, prompt_len, new_tokens)
        return add([self.prefill(model, prompt_len), decoding])

    def one_more(
        self,
        model: ModelConfig | float,
        num_samples: int,
        prompt_len: int,
        new_tokens: int,
    ) -> float:
        """Seconds that sample num_samples + 1 adds to a call."""
        calls = (
            self.call(model, n, prompt_len, new_tokens) for n in (num_samples, num_samples + 1)
        )
        before, after = (call.seconds for call in calls)
        return after - before

    def training_step(
        self, model: ModelConfig | float, batch_size: int, sequence_len: int
    ) -> Estimate:
        """One optimiser step over batch_size rows of sequence_len tokens."""
        fit = self.profile.training
        if fit is None:
            raise ValueError(
                f"the profile of {self.profile.machine} has no training steps; calibrate again"
            )

        def of_config(config: ModelConfig) -> Estimate:
            table = tabulate_training([config], [(batch_size, sequence_len)])
            return first_of(fit.interval(table), table.flops, table.bytes)

        return self.of_model(model, of_config)

    def training(
        self, model: ModelConfig | float, num_tokens: float, batch_size: int, sequence_len: int
    ) -> Estimate:
        """Training on num_tokens tokens, in steps of that size."""
        step = self.training_step(model, batch_size, sequence_len)
        return step.scaled(num_tokens / (batch_size * sequence_len))

    # ---- how --------------------------------------------------------------------------------

    def step(self, config: ModelConfig, step: Step) -> Estimate:
        self.refuse_what_cannot_fit(config, step)
        table = self.profile.measured.tabulate([(config, self.precision)], [step])
        return first_of(self.fit.interval(table), table.flops, table.bytes)

    def of_model(
        self, model: ModelConfig | float, estimate: Callable[[ModelConfig], Estimate]
    ) -> Estimate:
        if isinstance(model, ModelConfig):
            return estimate(model)
        lower, upper, share = rungs(model, self.vocab_size)
        return between(estimate(lower), estimate(upper), share)

    def bytes_needed(self, config: ModelConfig, step: Step) -> tuple[int, int]:
        """Of weights, and of the keys and values of all rows of a step."""
        tokens = (
            float(step.prompt_len)
            if isinstance(step, PrefillStep)
            else step.num_prompts * step.prefix_len + step.num_samples * step.suffix_len
        )
        weights = metering.weight_bytes(config, self.precision)
        return weights, metering.key_value_bytes(config, math.ceil(tokens), self.precision)

    def refuse_what_cannot_fit(self, config: ModelConfig, step: Step) -> None:
        weights, keys = self.bytes_needed(config, step)
        if weights + keys > self.memory_bytes:
            what = (
                f"a prompt of {step.prompt_len:,} tokens"
                if isinstance(step, PrefillStep)
                else f"{step.num_samples:,.0f} samples of {step.num_prompts:,.0f} prompts of "
                f"{step.prefix_len:,.0f} tokens, {step.suffix_len:,.0f} of their own each"
            )
            raise ValueError(
                f"memory: {what} need {keys / GIBIBYTE:,.2f} GiB for keys and values beside "
                f"{weights / GIBIBYTE:,.2f} GiB of weights, expected at most "
                f"{self.memory_bytes / GIBIBYTE:,.2f} GiB, what was free when the machine was "
                "calibrated; take fewer samples or a shorter prompt"
            )
