"""LLM: load a model, draw n samples from each prompt, know what each one cost.

    llm = LLM("path-or-hub-id")
    outputs = llm.generate(["Question:"], SamplingParams(n=64, temperature=0.8, seed=7))

Sample i of a prompt is a function of (weights, prompt tokens, sampling parameters without n, seed,
i) alone: it does not depend on n, on the other prompts, on the thread count or on the order in
which samples end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from t2engine import metering
from t2engine.engine.intake import Intake, Prompt, require
from t2engine.engine.memory import CHUNK_TOKENS, Wish, plan_memory, return_free_memory
from t2engine.engine.opening import Opening, open_run
from t2engine.engine.progress import progress_bar
from t2engine.engine.requests import Request
from t2engine.engine.run import Run, Sample
from t2engine.engine.sampling import needs_every_token
from t2engine.engine.torch_threads import one_torch_thread
from t2engine.model.config import read_config
from t2engine.model.generation import read_generation_config
from t2engine.model.hub import SHIPPED_MODEL, resolve_model
from t2engine.model.tokenizer import read_tokenizer
from t2engine.model.weights import open_weights
from t2engine.schema import CompletionOutput, RequestOutput, SamplingParams


@dataclass(frozen=True)
class FinishedSample:
    """A sample as `stream` yields it: which prompt it answers, and the sample."""

    prompt_index: int
    output: CompletionOutput


class LLM:
    """A model ready to be sampled.

    model: a local Hugging Face directory, a hub id, or the name of the shipped model.
    device: "cpu", "cuda" (the current NVIDIA GPU), or "auto": a GPU where there is one that can
        hold the model as asked.
    dtype: how the weights are held: "float32", "bfloat16" or "float16" (multiplied in float32), or
        "int8" (a scale for each output feature; activations are rounded to 8 bits, row by row).
        "auto" is the files' own, which changes nothing. On a GPU, the type of all arithmetic but
        sums; not int8.
    kv_cache_dtype: how keys and values are held: "float32" (also "auto"), "bfloat16" or "int8"; on
        a GPU as the weights are.
    threads: of the kernels; None takes torch.get_num_threads().
    max_num_seqs: samples decoded at once, at most.
    memory_limit: bytes for weights, keys and workspace; None takes 90 % of what is free.
    instruction_set: of the kernels, one that `t2 doctor` lists as supported. "auto" is the fastest.
        All for x86 but "portable" give the same bits, "amxbf16" unless weights are held in 16.
    packed_cache: keep the packed weights in a file beside the model, for the next load to map.
    invariant: have a sample's bits depend on no company on a GPU either; slower. CPUs always do.
    Raises: ValueError naming what was wrong, before any weight is read.
    """

    def __init__(
        self,
        model: str | Path = SHIPPED_MODEL,
        *,
        device: str = "auto",
        dtype: str = "auto",
        kv_cache_dtype: str = "auto",
        threads: int | None = None,
        max_num_seqs: int = 256,
        memory_limit: int | None = None,
        instruction_set: str = "auto",
        packed_cache: bool = False,
        invariant: bool = False,
    ) -> None:
        opening = Opening(
            *(device, dtype, kv_cache_dtype, threads, instruction_set, packed_cache, invariant)
        )
        opening.check()
        require(max_num_seqs >= 1, f"max_num_seqs must be at least 1, got {max_num_seqs}")
        self.model_dir = resolve_model(str(model))
        self.config = read_config(self.model_dir)
        self.generation = read_generation_config(self.model_dir)
        self.tokenizer = read_tokenizer(self.model_dir, self.config.vocab_size)
        self.intake = Intake(self.config, self.tokenizer, self.generation.eos_token_ids)
        files = open_weights(self.model_dir, self.config)
        self.threads = threads or torch.get_num_threads()
        self.max_num_seqs = max_num_seqs
        self.memory_limit = memory_limit
        self.precision = opening.precision(files.dtype)
        self.refuse_weights_that_cannot_fit(opening.free_bytes())
        self.runtime = opening.runtime(self.config, files, self.precision)
        self.model = self.runtime.model
        return_free_memory()  # what packing the weights took

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        progress: bool | None = None,
    ) -> list[RequestOutput]:
        """All samples of all prompts, in order.

        prompts: a text, a list of token ids, or a list of either.
        params: for all prompts, or one each.
        progress: draw a bar on stderr; None draws it when stderr is a terminal.
        Raises: ValueError naming the prompt or parameter that cannot be served.
        """
        return self.collect(self.intake.requests(prompts, params), progress)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        params: SamplingParams | None = None,
        *,
        progress: bool | None = None,
        **variables: Any,
    ) -> list[RequestOutput]:
        """Samples of the next turn of a conversation, by the model's own chat template.

        messages: objects with `role` and `content`; variables go to the template.
        Raises: ValueError when the model has no chat template or it refuses the messages.
        """
        from t2engine.model.chat import read_chat_template  # brings in jinja2

        template = read_chat_template(self.model_dir)
        if template is None:
            raise ValueError(f"{self.model_dir} has no chat template; use generate with a prompt")
        prompt = self.tokenizer.encode(
            template.render(messages, **variables), add_special_tokens=False
        )
        return self.generate([prompt], params, progress=progress)

    def extend(
        self, output: RequestOutput, n: int, *, progress: bool | None = None
    ) -> RequestOutput:
        """The same request with n samples in all: those it has unchanged, and the missing ones."""
        have = len(output.outputs)
        require(n > have, f"n must be more than the {have} samples there are, got {n}")
        params = replace(output.params, n=n - have, seed=output.seed)
        [request] = self.intake.requests([output.prompt_token_ids], params)
        [more] = self.collect([replace(request, first_index=have)], progress)
        outputs = (*output.outputs, *more.outputs)
        return replace(
            output,
            outputs=outputs,
            params=replace(output.params, n=n),
            cost=metering.total([sample.cost for sample in outputs]),
        )

    def stream(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
    ) -> Iterator[FinishedSample]:
        """Every sample as it finishes. Bad input is refused here, before the first one is drawn."""
        return self.start(self.intake.requests(prompts, params))

    def collect(self, requests: Sequence[Request], progress: bool | None) -> list[RequestOutput]:
        outputs: list[dict[int, CompletionOutput]] = [{} for _ in requests]
        total = sum(request.params.n for request in requests)
        with progress_bar("sampling", total, progress) as advance:
            for finished in self.start(requests):
                outputs[finished.prompt_index][finished.output.index] = finished.output
                advance()
        return [
            request_output(request, [done[i] for i in sorted(done)])
            for request, done in zip(requests, outputs, strict=True)
        ]

    def start(self, requests: Sequence[Request]) -> Iterator[FinishedSample]:
        """Plan the memory, or refuse; then the samples, drawn as the caller asks for them."""
        if not requests:
            return iter(())
        plan = plan_memory(
            self.config,
            self.precision,
            self.runtime.workspace_bytes,
            wishes(requests),
            self.max_num_seqs,
            self.caches_limit(),
            chunk_tokens=self.runtime.chunk_tokens or CHUNK_TOKENS,
            room_of_steps=self.runtime.room_of_steps,
        )
        self.runtime.reserve(max(len(r.token_ids) + r.max_new_tokens for r in requests))
        index_of = {request.first_handle: i for i, request in enumerate(requests)}
        run = open_run(self.runtime, self.tokenizer, requests, plan)
        return (
            FinishedSample(
                index_of[sample.request.first_handle], self.completion(sample, text, run)
            )
            for samples in self.samples(run)
            for sample, text in zip(samples, self.texts(samples), strict=True)
        )

    def samples(self, run: Run) -> Iterator[list[Sample]]:
        """Those that end together."""
        finished = run.finished()
        while True:
            with one_torch_thread(), torch.inference_mode():
                samples = next(finished, None)
            if samples is None:
                return
            yield samples

    def completion(self, sample: Sample, text: str, run: Run) -> CompletionOutput:
        logprobs = tuple(sample.logprobs) if sample.request.params.logprobs is not None else None
        raw = None
        if logprobs is not None:
            drawn = zip(logprobs, sample.token_ids, strict=True)
            raw = sum(entry[token].logprob for entry, token in drawn)
        return CompletionOutput(
            index=sample.request.first_index + sample.index,
            text=text,
            token_ids=tuple(sample.token_ids),
            finish_reason=sample.finish_reason,
            stop_reason=sample.stop_reason,
            cumulative_logprob=raw,
            logprobs=logprobs,
            cost=run.meter.cost(sample.handle),
        )

    def texts(self, samples: Sequence[Sample]) -> list[str]:
        """Each without the token that ended it; empty without a tokenizer."""
        decoded = self.tokenizer.decode_all([ids_of_text(sample) for sample in samples])
        return [
            text
            if sample.stopping is None or sample.stopping.end is None
            else sample.stopping.final_text()
            for sample, text in zip(samples, decoded, strict=True)
        ]

    def refuse_weights_that_cannot_fit(self, free: int) -> None:
        size = metering.weight_bytes(self.config, self.precision)
        limit = self.memory_limit if self.memory_limit is not None else free
        require(
            size <= limit,
            f"memory plan does not fit: the weights of {self.model_dir} need "
            f"{size / 2**20:,.1f} MiB, expected at most {limit / 2**20:,.1f} MiB",
        )

    def caches_limit(self) -> int:
        """Bytes for everything but the weights, which are there already."""
        if self.memory_limit is not None:
            return self.memory_limit - self.model.nbytes
        return self.runtime.available_bytes()


def ids_of_text(sample: Sample) -> list[int]:
    stopped_by_token = sample.finish_reason == "stop"
    keep = sample.request.params.include_stop_str_in_output
    return sample.token_ids[:-1] if stopped_by_token and not keep else sample.token_ids


def wishes(requests: Sequence[Request]) -> list[Wish]:
    """One for each distinct prompt."""
    samples: Counter[tuple[int, ...]] = Counter()
    longest: dict[tuple[int, ...], int] = {}
    slow: set[tuple[int, ...]] = set()
    for request in requests:
        ids = request.token_ids
        samples[ids] += request.params.n
        longest[ids] = max(longest.get(ids, 0), request.max_new_tokens)
        if needs_every_token(request.params):
            slow.add(ids)
    return [Wish(ids, n, longest[ids], ids in slow) for ids, n in samples.items()]


def request_output(request: Request, outputs: list[CompletionOutput]) -> RequestOutput:
    return RequestOutput(
        prompt=request.prompt,
        prompt_token_ids=request.token_ids,
        outputs=tuple(outputs),
        params=replace(request.params, seed=request.seed),
        seed=request.seed,
        cost=metering.total([output.cost for output in outputs]),
    )
