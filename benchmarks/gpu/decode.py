"""Whole decoding on a GPU: tokens per second, its floor, the host's part, and transformers beside.

    python -m benchmarks.gpu.decode --out FILE [--quick]

decode   k samples of one prompt, 128 tokens each, bfloat16, random weights, end tokens ignored.
         Tokens per second are of the whole call of `generate`, prefill, text and all; those of its
         decoding alone, by the engine's own meter, stand beside. host_busy is the process's CPU
         time over the call's seconds. invariant is the same with `invariant=True`.
greedy   the shipped model in float32 at temperature 0, GPU beside CPU, step by step.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.ceilings import measure_ceilings
from benchmarks.gpu.floors import Ceilings, key_value_bytes, run_seconds
from benchmarks.gpu.greedy import measure_greedy
from benchmarks.gpu.models import model_config, write_model
from benchmarks.gpu.record import (
    DeviceLostError,
    Line,
    Record,
    attempt,
    lose_device,
    read_lines,
    read_options,
)
from benchmarks.peers.cells import Cell
from t2engine import LLM, SamplingParams

NEW_TOKENS = 128
ROUNDS = 3
WARM_UP_CALL = ROUNDS  # a prompt that no round has
RUNS = (  # model, samples, prompt tokens
    ("Qwen2.5-0.5B", 1024, 2048),
    ("5M", 4096, 512),
    ("Qwen3-0.6B", 1024, 2048),
    ("Llama-3.2-1B", 1024, 512),
)
T2, INVARIANT, TRANSFORMERS = "t2", "t2 invariant", "transformers"
ENGINES = (T2, INVARIANT, TRANSFORMERS)
CACHE_SHARE = 0.25  # of free memory: transformers writes its cache anew at every step


@dataclass(frozen=True)
class Round:
    """One call: seconds by the clock, by the engine's meter, and of the CPU."""

    seconds: float
    prefill_seconds: float
    decode_seconds: float
    cpu_seconds: float  # of all threads
    main_thread_seconds: float


def timed(action: Callable[[], tuple[float, float]]) -> Round:
    """action gives its seconds of prefill and of decoding."""
    torch.cuda.synchronize()
    wall, cpu, thread = time.perf_counter(), time.process_time(), time.thread_time()
    prefill_seconds, decode_seconds = action()
    torch.cuda.synchronize()
    return Round(
        time.perf_counter() - wall,
        prefill_seconds,
        decode_seconds,
        time.process_time() - cpu,
        time.thread_time() - thread,
    )


def run_t2(llm: LLM, cell: Cell, vocab_size: int, call: int) -> tuple[float, float]:
    params = SamplingParams(
        n=cell.num_samples, max_tokens=cell.new_tokens, seed=call, ignore_eos=True
    )
    prompt = cell.prompt(vocab_size, str(call))
    [output] = llm.generate([prompt], params, progress=False)
    assert all(len(sample.token_ids) == cell.new_tokens for sample in output.outputs)
    return output.cost.prefill_seconds, output.cost.decode_seconds


def run_transformers(model: Any, cell: Cell, vocab_size: int, call: int) -> tuple[float, float]:
    """The prompt's cache computed once and repeated, as in benchmarks/peers/transformers_.py."""
    from transformers import DynamicCache

    torch.manual_seed(call)
    prompt = torch.tensor([cell.prompt(vocab_size, str(call))], device=model.device)
    began = time.perf_counter()
    with torch.inference_mode():
        cache = DynamicCache(config=model.config)
        model(prompt[:, :-1], past_key_values=cache, logits_to_keep=1)
        torch.cuda.synchronize()
        prefilled = time.perf_counter()
        cache.batch_repeat_interleave(cell.num_samples)
        ids = model.generate(
            prompt.repeat(cell.num_samples, 1),
            past_key_values=cache,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            max_new_tokens=cell.new_tokens,
            min_new_tokens=cell.new_tokens,
            eos_token_id=None,
            pad_token_id=0,
        )
        torch.cuda.synchronize()
    assert ids.shape == (cell.num_samples, cell.prompt_len + cell.new_tokens)
    return prefilled - began, time.perf_counter() - prefilled


def samples_that_fit(model: str, cell: Cell) -> int:
    """Of transformers: halved until its caches leave room."""
    free, _ = torch.cuda.mem_get_info()
    k, tokens = cell.num_samples, cell.prompt_len + cell.new_tokens
    while k > 1 and key_value_bytes(model_config(model), k * tokens) > CACHE_SHARE * free:
        k //= 2
    return k


def measure(engine: str, model: str, cell: Cell, ceilings: Ceilings) -> Line:
    config, directory = model_config(model), write_model(model)
    if engine == TRANSFORMERS:
        import transformers

        transformers.logging.set_verbosity_error()
        cell = Cell(cell.prompt_len, samples_that_fit(model, cell), cell.new_tokens)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16)
        run = partial(run_transformers, loaded.to("cuda").eval())
    else:
        options: dict[str, Any] = {"device": "cuda", "dtype": "bfloat16"}
        if engine == INVARIANT:
            options["invariant"] = True
        run = partial(run_t2, LLM(directory, max_num_seqs=cell.num_samples, **options))
    run(cell, config.vocab_size, WARM_UP_CALL)  # compiles, captures and allocates
    rounds = [timed(partial(run, cell, config.vocab_size, call)) for call in range(ROUNDS)]
    return figures(rounds, cell) | {
        "floor_seconds": run_seconds(
            config, cell.num_samples, cell.prompt_len, cell.new_tokens, ceilings
        ),
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "rounds": [vars(one) for one in rounds],
    }


def figures(rounds: Sequence[Round], cell: Cell) -> Line:
    """Medians over the rounds."""
    tokens = cell.num_samples * cell.new_tokens
    decoded = cell.num_samples * (
        cell.new_tokens - 1
    )  # the first is drawn from the prompt's logits
    return {
        "measured_samples": cell.num_samples,
        "tokens_per_second": statistics.median(tokens / r.seconds for r in rounds),
        "decode_seconds": statistics.median(r.decode_seconds for r in rounds),
        "decode_tokens_per_second": statistics.median(decoded / r.decode_seconds for r in rounds),
        "host_busy": statistics.median(r.cpu_seconds / r.seconds for r in rounds),
        "main_thread_busy": statistics.median(r.main_thread_seconds / r.seconds for r in rounds),
    }


def jobs(quick: bool, ceilings: Ceilings) -> Iterator[tuple[str, Line, Callable[[], Line]]]:
    """Ours first: a run cut short has what matters most."""
    yield "greedy", {"dtype": "float32"}, measure_greedy
    for engine in ENGINES[: 1 if quick else None]:
        for model, k, P in RUNS:
            what = {"engine": engine, "model": model, "num_samples": k, "prefix_len": P}
            what["new_tokens"] = NEW_TOKENS
            cell = Cell(P, k, NEW_TOKENS)
            yield "decode", what, partial(measure, engine, model, cell, ceilings)


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options("decode", __doc__.partition("\n")[0], arguments)
    lines = read_lines(options.out)
    record = Record(options)
    ceilings = measure_ceilings(record)
    for kind, what, action in jobs(options.quick, ceilings):
        if record.out_of_time():
            break
        if any(x.get("of", x["kind"]) == kind and what.items() <= x.items() for x in lines):
            continue
        torch.cuda.reset_peak_memory_stats()
        try:
            found, why = attempt(action)
        except DeviceLostError as error:
            lose_device(record, error, of=kind, **what)
        record.add(kind, **what, **(found or {"failed": why}))
        gc.collect()  # a model of the last job
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
