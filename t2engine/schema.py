"""The nouns that cross layers: frozen dataclasses of plain data, over the standard library alone.

Units end the name: `flops`, `bytes`, `seconds`, `joules`. What nobody measured is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# ---- models ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3.1's stretching of long rotary wavelengths (`rope_type: llama3`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context_len: int


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder-only transformer, in one vocabulary for every family read."""

    family: str  # "llama", "mistral", "qwen2", "qwen3" or "gpt_neox"
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_context_len: int
    norm_eps: float
    rope_theta: float
    rotary_dim: int  # leading features of a head that rotate; head_dim unless partial
    rope_scaling: RopeScaling | None = None
    norm: str = "rms"  # "rms" or "layer" (LayerNorm with bias)
    activation: str = "silu"  # "silu", "gelu" (erf) or "gelu_tanh"
    gated_mlp: bool = True  # down(act(gate(x)) * up(x)), otherwise down(act(up(x)))
    parallel_residual: bool = False  # attention and MLP read the same layer input
    qkv_bias: bool = False
    output_bias: bool = False  # of the attention's output projection
    mlp_bias: bool = False
    qk_norm: bool = False  # RMSNorm over head_dim on every query and key head
    tied_embeddings: bool = False
    dtype: str = "float32"  # of the weights as stored in the files


@dataclass(frozen=True)
class Precision:
    """How the weights and the key-value cache are stored. Sums are always in float32."""

    weights: str = "float32"  # "float32", "bfloat16", "float16" or "int8"
    cache: str = "float32"  # "float32", "bfloat16" or "int8"


FLOAT32 = Precision()


# ---- sampling --------------------------------------------------------------------------------


@dataclass(frozen=True)
class SamplingParams:
    """How to draw samples; names and meanings as in vLLM.

    Raises: ValueError naming the field, what it must be and what it was.
    """

    n: int = 1
    temperature: float = 1.0  # 0 takes the most probable token
    top_k: int = 0  # 0 (or -1) keeps the whole vocabulary
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0  # over prompt and output; > 1 discourages
    presence_penalty: float = 0.0  # over the output
    frequency_penalty: float = 0.0  # over the output, per occurrence
    seed: int | None = None  # None draws a fresh seed per prompt and reports it
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop_str_in_output: bool = False
    max_tokens: int | None = 16  # None goes on to the end of the context
    min_tokens: int = 0
    ignore_eos: bool = False
    logprobs: int | None = None  # None keeps none; 0 the drawn token's; m the m most probable too

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        object.__setattr__(self, "stop_token_ids", tuple(self.stop_token_ids))
        for name, (rule, holds) in SAMPLING_RULES.items():
            value = getattr(self, name)
            if not is_number(value) or not holds(value):
                raise ValueError(f"{name} must be {rule}, got {value!r}")
        for name, least in (("seed", 0), ("max_tokens", 1), ("logprobs", 0)):
            value = getattr(self, name)
            if value is not None and not (is_whole(value) and value >= least):
                raise ValueError(
                    f"{name} must be None or a whole number of at least {least}, got {value!r}"
                )
        if self.seed is not None and self.seed >= 2**64:
            raise ValueError(f"seed must be below 2**64, got {self.seed}")
        if not all(isinstance(text, str) and text for text in self.stop):
            raise ValueError(f"stop must be texts that are not empty, got {self.stop!r}")
        if not all(is_whole(token) for token in self.stop_token_ids):
            raise ValueError(f"stop_token_ids must be token ids, got {self.stop_token_ids!r}")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValueError(
                f"min_tokens must be at most max_tokens ({self.max_tokens}), got {self.min_tokens}"
            )


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return is_whole(value) or isinstance(value, float)


# What each number must be; a comparison with nan is false, so nan is refused everywhere.
SAMPLING_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "n": ("a whole number of at least 1", lambda x: is_whole(x) and x >= 1),
    "temperature": ("a finite number of at least 0", lambda x: 0 <= x < float("inf")),
    "top_k": ("a whole number of at least -1", lambda x: is_whole(x) and x >= -1),
    "top_p": ("in (0, 1]", lambda x: 0 < x <= 1),
    "min_p": ("in [0, 1]", lambda x: 0 <= x <= 1),
    "repetition_penalty": ("a finite number above 0", lambda x: 0 < x < float("inf")),
    "presence_penalty": ("in [-2, 2]", lambda x: -2 <= x <= 2),
    "frequency_penalty": ("in [-2, 2]", lambda x: -2 <= x <= 2),
    "min_tokens": ("a whole number of at least 0", lambda x: is_whole(x) and x >= 0),
}


@dataclass(frozen=True)
class Logprob:
    """Natural log-probabilities of one candidate token at one step."""

    logprob: float  # under the model's own distribution
    rank: int  # 1 is the model's most probable token
    sampled_logprob: float | None = None  # under the distribution the token was drawn from


# ---- what a sample cost ----------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What one call of an operation does: matrix FLOPs (two a multiply-add) and bytes touched."""

    flops: int
    bytes: int


@dataclass(frozen=True)
class SampleCost:
    """What one sample really cost. The prefill share is kept apart from the sample's own decode."""

    prefill_flops: int  # this sample's share of the prompt's one prefill
    decode_flops: int
    waste_flops: int  # spent on a sample that was cancelled, or on padding
    logical_bytes: int  # as if this sample had read its own prefix
    physical_bytes: int  # what it read, shared reads divided among the sharers
    prefill_seconds: float
    decode_seconds: float
    joules: float | None = None

    @property
    def flops(self) -> int:
        return self.prefill_flops + self.decode_flops

    @property
    def seconds(self) -> float:
        return self.prefill_seconds + self.decode_seconds


@dataclass(frozen=True)
class CompletionOutput:
    """One sample of one prompt."""

    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: str | None  # "stop", "length", or "abort" for a sample cut short
    stop_reason: int | str | None  # the token id or string that stopped it; None at the end token
    cumulative_logprob: float | None
    logprobs: tuple[dict[int, Logprob], ...] | None
    cost: SampleCost


@dataclass(frozen=True)
class RequestOutput:
    """All samples of one prompt, and what they cost together."""

    prompt: str | None
    prompt_token_ids: tuple[int, ...]
    outputs: tuple[CompletionOutput, ...]
    params: SamplingParams
    seed: int  # the seed in force, drawn if none was given
    cost: SampleCost


# ---- study and planning ----------------------------------------------------------------------


@dataclass(frozen=True)
class Observation:
    """How often one model answered one question: num_correct of num_samples.

    N counts all parameters, embeddings included; D counts training tokens.
    """

    model: str
    N: int
    D: int
    question: str
    num_samples: int
    num_correct: int
    gold_nll: float | None = None  # natural-log loss of the gold answer, summed over its tokens
