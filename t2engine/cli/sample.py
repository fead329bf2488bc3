"""`t2 sample`: draw n samples from each prompt and say what they cost."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from t2engine.model.hub import SHIPPED_MODEL
from t2engine.schema import SamplingParams


def sample(
    prompts: Annotated[list[str], typer.Argument(help="Prompts; - reads one a line from stdin.")],
    model: Annotated[
        str, typer.Option(help="Model directory, hub id, or the shipped model's name.")
    ] = SHIPPED_MODEL,
    n: Annotated[int, typer.Option("-n", "--n", help="Samples per prompt.")] = 1,
    temperature: Annotated[float, typer.Option(help="0 takes the most probable token.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Keep the most probable tokens; 0 keeps all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Keep the fewest that reach this mass.")] = 1.0,
    min_p: Annotated[float, typer.Option(help="Least share of the best token's mass.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="Over prompt and output.")] = 1.0,
    presence_penalty: Annotated[float, typer.Option(help="Over the output.")] = 0.0,
    frequency_penalty: Annotated[float, typer.Option(help="Over the output, a token.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="Same seed, same samples.")] = None,
    max_tokens: Annotated[int, typer.Option(help="New tokens per sample, at most.")] = 256,
    min_tokens: Annotated[int, typer.Option(help="New tokens before an end is allowed.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="Stop at this text; repeatable.")] = None,
    ignore_eos: Annotated[bool, typer.Option(help="Go on past the end token.")] = False,
    logprobs: Annotated[
        int | None, typer.Option(help="Log-probabilities: of the drawn token and this many more.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda (an NVIDIA GPU), or auto, a GPU where there is one.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.")] = None,
    dtype: Annotated[
        str, typer.Option(help="Of the weights: auto, float32, bfloat16, float16 or int8.")
    ] = "auto",
    kv_cache_dtype: Annotated[
        str, typer.Option(help="Of keys and values: auto, float32, bfloat16 or int8.")
    ] = "auto",
    instruction_set: Annotated[
        str, typer.Option(help="Of the kernels: one that `t2 doctor` lists, or auto, the fastest.")
    ] = "auto",
    packed_cache: Annotated[
        bool, typer.Option(help="Keep the packed weights beside the model for the next load.")
    ] = False,
    invariant: Annotated[
        bool, typer.Option(help="Same bits in any company on a GPU too; slower.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the samples here, as JSON lines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one prompt a line.")] = False,
) -> None:
    """Draw N samples from each prompt, computing the prompt once.

    Example: t2 sample "12+7=" -n 8 --seed 7
    """
    params = SamplingParams(
        n=n,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        seed=seed,
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        stop=tuple(stop or ()),
        ignore_eos=ignore_eos,
        logprobs=logprobs,
    )
    if out is not None and not out.parent.is_dir():
        raise ValueError(f"--out must be in a directory that exists, got {out}")
    from t2engine.engine.llm import LLM
    from t2engine.files import write_text
    from t2engine.reports.samples import print_samples

    llm = LLM(
        model,
        device=device,
        dtype=dtype,
        kv_cache_dtype=kv_cache_dtype,
        threads=threads,
        instruction_set=instruction_set,
        packed_cache=packed_cache,
        invariant=invariant,
    )
    texts = sys.stdin.read().splitlines() if prompts == ["-"] else prompts
    outputs = llm.generate(texts, params)
    lines = [json.dumps(asdict(output), ensure_ascii=False) for output in outputs]
    if out is not None:
        write_text(out, "".join(line + "\n" for line in lines))
    if as_json:
        print("\n".join(lines))
    else:
        print_samples(outputs)
