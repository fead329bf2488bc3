"""Whole calls of t2engine and, where they are installed, of other engines on the same model.

    transformers       generate(num_return_sequences=n, do_sample=True) on the same directory
    llama-cpp-python   hardware.llama_cpp on a GGUF file of the same model

All draw the same number of tokens on the same threads, in this process. Decoding is what comes
after the first token of every sample.

Units:  seconds of one call.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from t2engine.engine.llm import LLM
from t2engine.engine.memory import MEBIBYTE, available_bytes
from t2engine.hardware.bench_plan import BenchSettings, CallShape
from t2engine.hardware.llama_cpp import LlamaCppModel
from t2engine.hardware.machine import installed_version
from t2engine.metering import key_value_bytes
from t2engine.schema import ModelConfig, Precision, SamplingParams

OURS = "t2engine"
TRANSFORMERS, LLAMA_CPP = "transformers", "llama-cpp-python"
SHARE_OF_FREE = 0.5  # of the memory, for keys and values of a peer
FEW_TOKENS = 2  # of each sample, in the call that warms up


@dataclass(frozen=True)
class CallSeconds:
    whole: float
    decoding: float  # after the first token of every sample


class Engine(Protocol):
    name: str
    precision: str  # in words

    def call(self, shape: CallShape) -> CallSeconds: ...


@dataclass
class TimedCall:
    """Calls of one shape. A visit gives a whole call's seconds; its decoding is kept beside."""

    engine: Engine
    shape: CallShape
    decoding: dict[float, float] = field(default_factory=dict)  # by the whole call's seconds

    def visit(self) -> float:
        seconds = self.engine.call(self.shape)
        self.decoding[seconds.whole] = seconds.decoding
        return seconds.whole


def prompt_of(shape: CallShape, vocab_size: int) -> list[int]:
    return [7 * i % vocab_size for i in range(shape.prompt_tokens)]


class Ours:
    name = OURS

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self.precision = f"{llm.precision.weights}/{llm.precision.cache}"

    def call(self, shape: CallShape) -> CallSeconds:
        params = SamplingParams(
            n=shape.num_samples, max_tokens=shape.new_tokens, seed=0, ignore_eos=True
        )
        prompt = prompt_of(shape, self.llm.config.vocab_size)
        began = time.perf_counter()
        [output] = self.llm.generate([prompt], params, progress=False)
        return CallSeconds(time.perf_counter() - began, output.cost.decode_seconds)


class Transformers:
    name = TRANSFORMERS

    def __init__(self, model_dir: Path, config: ModelConfig, dtype: str, threads: int) -> None:
        transformers: Any = importlib.import_module("transformers")
        transformers.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.config, self.precision, self.threads = config, dtype, threads
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            model_dir, dtype=getattr(torch, dtype)
        ).eval()

    def call(self, shape: CallShape) -> CallSeconds:
        tokens = shape.num_samples * (shape.prompt_tokens + shape.new_tokens)
        cache = "float32" if self.precision == "float32" else "bfloat16"
        refuse_beyond(key_value_bytes(self.config, tokens, Precision(cache=cache)))
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            return self.generate(shape)
        finally:
            torch.set_num_threads(before)

    def generate(self, shape: CallShape) -> CallSeconds:
        prompt = torch.tensor([prompt_of(shape, self.config.vocab_size)])
        drawn: list[float] = []  # when each token was

        def note_time(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            drawn.append(time.perf_counter())
            return torch.zeros(len(ids), dtype=torch.bool)

        torch.manual_seed(0)
        began = time.perf_counter()
        with torch.inference_mode():
            ids = self.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                num_return_sequences=shape.num_samples,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                max_new_tokens=shape.new_tokens,
                min_new_tokens=shape.new_tokens,
                eos_token_id=None,
                pad_token_id=0,
                stopping_criteria=[note_time],
            )
        ended = time.perf_counter()
        assert ids.shape == (shape.num_samples, shape.prompt_tokens + shape.new_tokens)
        return CallSeconds(ended - began, ended - drawn[0])


class LlamaCpp:
    name = LLAMA_CPP

    def __init__(self, gguf: Path, vocab_size: int, threads: int) -> None:
        self.model, self.vocab_size = LlamaCppModel(gguf, threads), vocab_size
        self.precision = f"{gguf.name}/float16"
        self.fastest: dict[CallShape, str] = {}  # of its modes

    def call(self, shape: CallShape) -> CallSeconds:
        few = CallShape(shape.num_samples, shape.prompt_tokens, FEW_TOKENS)
        if few not in self.fastest:
            modes = self.model.modes(few.num_samples)
            seconds = {mode: self.in_mode(few, mode).decoding for mode in modes}
            self.fastest[few] = min(seconds, key=lambda mode: seconds[mode])
        return self.in_mode(shape, self.fastest[few])

    def in_mode(self, shape: CallShape, mode: str) -> CallSeconds:
        sizes = shape.num_samples, shape.new_tokens
        refuse_beyond(self.model.cache_bytes(shape.prompt_tokens, *sizes, mode))
        prompt = prompt_of(shape, self.vocab_size)
        seconds = self.model.time_call(prompt, *sizes, mode)
        whole = seconds.prefill + seconds.first_step + seconds.other_steps
        return CallSeconds(whole, seconds.other_steps)


def refuse_beyond(cache_bytes: int) -> None:
    limit = SHARE_OF_FREE * available_bytes()
    if cache_bytes > limit:
        raise ValueError(
            f"its keys and values need {cache_bytes / MEBIBYTE:,.0f} MiB, expected at most "
            f"{limit / MEBIBYTE:,.0f} MiB, half of what is free"
        )


# ---- which of them run -------------------------------------------------------------------------


def find_peers(settings: BenchSettings, llm: LLM) -> tuple[list[Engine], dict[str, str]]:
    """Those that can be opened, and for each other why not."""
    left_out: dict[str, str] = {}
    peers: list[Engine] = []
    weights = llm.precision.weights if llm.precision.weights != "int8" else llm.config.dtype
    openings: dict[str, Callable[[], Engine]] = {
        TRANSFORMERS: lambda: Transformers(llm.model_dir, llm.config, weights, llm.threads)
    }
    if not is_installed("transformers"):
        del openings[TRANSFORMERS]
        left_out[TRANSFORMERS] = "not installed; pip install transformers"
    if not is_installed("llama_cpp"):
        left_out[LLAMA_CPP] = "not installed; pip install llama-cpp-python, and give --gguf FILE"
    elif settings.gguf is None:
        left_out[LLAMA_CPP] = "needs the model as a GGUF file; give --gguf FILE"
    else:
        gguf = settings.gguf
        openings[LLAMA_CPP] = lambda: LlamaCpp(gguf, llm.config.vocab_size, llm.threads)
    for name, open_peer in openings.items():
        reason = why_refused(lambda open_peer=open_peer: peers.append(open_peer()))  # type: ignore[misc]
        if reason is not None:
            left_out[name] = reason
    return peers, left_out


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def peer_calls(
    peers: Iterable[Engine], shapes: Sequence[CallShape]
) -> tuple[list[TimedCall], dict[str, str]]:
    """Every peer with every shape, called once for a few tokens; those it refuses, with why."""
    calls, left_out = [], {}
    for peer in peers:
        for shape in shapes:
            few = CallShape(shape.num_samples, shape.prompt_tokens, FEW_TOKENS)
            reason = why_refused(lambda peer=peer, few=few: peer.call(few))  # type: ignore[misc]
            if reason is None:
                calls.append(TimedCall(peer, shape))
            else:
                name = f"{peer.name}, n = {shape.num_samples:,}, P = {shape.prompt_tokens:,}"
                left_out[name] = reason
    return calls, left_out


def why_refused(work: Callable[[], object]) -> str | None:
    """In one line; None where it was not."""
    try:
        work()
    except ValueError as error:
        return " ".join(str(error).split())
    return None


def versions() -> dict[str, str | None]:
    return {name: installed_version(name) for name in (TRANSFORMERS, LLAMA_CPP)}
