"""What a benchmark of one model measures, and whether it fits: settled before anything is timed.

A decode step is timed in the middle of its samples: half of their tokens are drawn. Without sharing
every row reads a copy of the prompt of its own; of copies there are as many as STORE_BYTES hold,
which rows then read in turn: still far more than the processor's caches.

Units:  tokens, bytes.
Raises: ValueError naming the setting, what was expected, what it was and how to mend it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from t2engine.costs.steps import DecodeStep, PrefillStep
from t2engine.engine.intake import require
from t2engine.engine.memory import CHUNK_TOKENS, LOGITS_PER_BLOCK, MEBIBYTE
from t2engine.hardware.native_steps import MOST_TOGETHER
from t2engine.metering import key_value_bytes
from t2engine.model.hub import SHIPPED_MODEL
from t2engine.schema import ModelConfig, Precision

DEFAULT_SAMPLES = (1, 8, 64, 256)
DEFAULT_PROMPTS = (128, 1024)
DEFAULT_SUFFIX = 64
STORE_BYTES = 1 << 30  # for copies of prompts
MOST_CALL_TOKENS = 4096  # drawn by one whole call


@dataclass(frozen=True)
class BenchSettings:
    """None takes the default, made to fit the model's context."""

    model: str | Path = SHIPPED_MODEL
    num_samples: tuple[int, ...] | None = None
    prompt_tokens: tuple[int, ...] | None = None
    suffix_tokens: int | None = None  # that each sample draws
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    threads: int | None = None
    rounds: int = 5
    peers: bool = False
    gguf: Path | None = None  # the same model for llama.cpp
    profile: Path | None = None  # of a calibrated machine
    datasheet_flops: float | None = None  # per second
    datasheet_bytes: float | None = None

    def __post_init__(self) -> None:
        for name in ("num_samples", "prompt_tokens"):
            values = getattr(self, name)
            whole = values is None or (values and all(value >= 1 for value in values))
            require(bool(whole), f"{name} must be numbers of at least 1, got {values}")
        suffix = self.suffix_tokens
        require(suffix is None or suffix >= 2, f"suffix_tokens must be at least 2, got {suffix}")
        require(self.rounds >= 2, f"rounds must be at least 2 to see a spread, got {self.rounds}")
        for name in ("datasheet_flops", "datasheet_bytes"):
            value = getattr(self, name)
            finite = value is None or 0 < value < float("inf")
            require(finite, f"{name} must be a finite number above 0, got {value}")
        gguf = self.gguf
        require(gguf is None or self.peers, "gguf is for the peers; ask for them too, with --peers")
        require(gguf is None or gguf.is_file(), f"gguf must be a file, got {gguf}")

    @property
    def counts(self) -> tuple[int, ...]:
        """One sample among them, to which others are compared."""
        return tuple(sorted({1, *(self.num_samples or DEFAULT_SAMPLES)}))


@dataclass(frozen=True)
class CallShape:
    """Of one whole call."""

    num_samples: int
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True)
class Shapes:
    num_samples: tuple[int, ...]
    prompt_tokens: tuple[int, ...]
    suffix_tokens: int
    notes: tuple[str, ...] = ()

    def shared(self) -> list[DecodeStep]:
        return [self.step(n, P, 1) for P in self.prompt_tokens for n in self.num_samples]

    def decode_steps(self) -> list[DecodeStep]:
        """Shared, and each of more than one sample also apart."""
        apart = [self.step(n, P, n) for P in self.prompt_tokens for n in self.num_samples if n > 1]
        return self.shared() + apart

    def prefills(self) -> list[PrefillStep]:
        return [PrefillStep(length) for length in self.prompt_tokens]

    def step(self, num_samples: int, prompt_tokens: int, num_prompts: int) -> DecodeStep:
        return DecodeStep(num_samples, num_prompts, prompt_tokens, self.suffix_tokens // 2)

    def calls(self) -> list[CallShape]:
        """A few: many samples of the shortest prompt, some, and one sample of the longest."""
        fit = [n for n in self.num_samples if n * self.suffix_tokens <= MOST_CALL_TOKENS]
        counts, prompts = fit or self.num_samples[:1], self.prompt_tokens
        pairs = (
            (counts[-1], prompts[0]),
            (counts[len(counts) // 2], prompts[len(prompts) // 2]),
            (counts[0], prompts[-1]),
        )
        return [CallShape(n, P, self.suffix_tokens) for n, P in dict.fromkeys(pairs)]


def choose_shapes(settings: BenchSettings, context: int) -> Shapes:
    """context: tokens that the model can attend to."""
    notes = []
    suffix = settings.suffix_tokens or min(DEFAULT_SUFFIX, context // 2)
    room = context - suffix
    require(
        room >= 1 and suffix >= 2,
        f"suffix_tokens must leave room for a prompt in the model's context of {context:,} tokens, "
        f"got {suffix:,}",
    )
    if settings.suffix_tokens is None and suffix < DEFAULT_SUFFIX:
        notes.append(
            f"the model's context is {context:,} tokens: samples draw {suffix}, not "
            f"{DEFAULT_SUFFIX}"
        )
    prompts = settings.prompt_tokens or DEFAULT_PROMPTS
    too_long = [length for length in prompts if length > room]
    require(
        settings.prompt_tokens is None or not too_long,
        f"prompt_tokens must be at most {room:,}, the model's context of {context:,} tokens less "
        f"{suffix:,} that a sample draws, got {max(too_long, default=0):,}",
    )
    if too_long:
        notes.append(
            f"prompts of {' and '.join(f'{length:,}' for length in too_long)} tokens do not fit "
            f"the model's context of {context:,} with {suffix} of a sample: {room:,} instead"
        )
    lengths = tuple(sorted({min(length, room) for length in prompts}))
    return Shapes(settings.counts, lengths, suffix, tuple(notes))


# ---- memory ------------------------------------------------------------------------------------


def plan_store(
    config: ModelConfig,
    precision: Precision,
    shapes: Shapes,
    workspace_bytes: Callable[[int, int], int],
    limit: int,
) -> int:
    """Bytes of the stores that steps run on, or a refusal with the numbers of every shape.

    limit: what may be taken beside the weights.
    """
    token_bytes = key_value_bytes(config, 1, precision)
    call = max(c.prompt_tokens + c.num_samples * c.new_tokens for c in shapes.calls())

    def beside(num_samples: int) -> int:
        logit_rows = min(num_samples, max(1, LOGITS_PER_BLOCK // config.vocab_size))
        return workspace_bytes(max(num_samples, CHUNK_TOKENS), logit_rows) + call * token_bytes

    needed = {step: store_tokens(step, 1) * token_bytes for step in shapes.shared()}
    refused = [
        f"{step.num_samples:,} samples of a prompt of {step.prefix_len:,} tokens need "
        f"{size / MEBIBYTE:,.0f} MiB for keys and values beside "
        f"{beside(int(step.num_samples)) / MEBIBYTE:,.0f} MiB for workspace and a whole call"
        for step, size in needed.items()
        if size + beside(int(step.num_samples)) > limit
    ]
    if refused:
        raise ValueError(
            f"memory plan does not fit: {'; '.join(refused)}; expected at most "
            f"{limit / MEBIBYTE:,.0f} MiB in all; take fewer samples, shorter prompts or suffixes"
        )
    copies = (store_tokens(step, step.num_prompts) * token_bytes for step in shapes.decode_steps())
    most = max(shapes.num_samples)
    return max(*needed.values(), min(max(copies), STORE_BYTES, limit - beside(most)))


def store_tokens(step: DecodeStep, copies: float) -> int:
    """Of so many copies of the prompt, and of the samples' own."""
    return int(copies * step.prefix_len + step.num_samples * (step.suffix_len + MOST_TOGETHER))


def copies_note(
    config: ModelConfig, precision: Precision, shapes: Shapes, store: int
) -> tuple[str, ...]:
    """Which steps have fewer copies of the prompt than rows."""
    token_bytes = key_value_bytes(config, 1, precision)
    fewer = [
        f"n = {step.num_samples:,}, P = {step.prefix_len:,}"
        for step in shapes.decode_steps()
        if store_tokens(step, step.num_prompts) * token_bytes > store
    ]
    if not fewer:
        return ()
    return (
        f"not shared at {'; '.join(fewer)}: rows take turns on as many copies of the prompt as "
        f"{store / MEBIBYTE:,.0f} MiB hold",
    )
