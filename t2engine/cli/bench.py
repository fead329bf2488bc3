"""`t2 bench`: what one model reaches on this machine, shared and not, and what sample n + 1 costs.

Bad input is a ValueError, which `t2` prints on one line before it exits with 2. A machine that
other programs keep busy is warned about; then nothing is saved, and the exit code is 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from t2engine.cli.progress import showing_progress
from t2engine.model.hub import SHIPPED_MODEL


def bench(
    model: Annotated[
        str, typer.Argument(help="Model directory, hub id, or the shipped model's name.")
    ] = SHIPPED_MODEL,
    n: Annotated[
        list[str] | None,
        typer.Option("-n", "--n", help="Samples, such as 1,8,64; repeatable. Default 1,8,64,256."),
    ] = None,
    prompt_tokens: Annotated[
        list[str] | None,
        typer.Option(help="Prompt lengths, such as 128,1024 (the default); repeatable."),
    ] = None,
    suffix_tokens: Annotated[
        int | None, typer.Option("--suffix-tokens", "--suffix", help="New tokens a sample [64].")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Of the weights: auto, float32, bfloat16, float16 or int8.")
    ] = "auto",
    kv_cache_dtype: Annotated[
        str, typer.Option(help="Of keys and values: auto, float32, bfloat16 or int8.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.")] = None,
    rounds: Annotated[int, typer.Option(help="How often everything is timed, in turns.")] = 5,
    peers: Annotated[
        bool, typer.Option("--peers", help="Beside transformers and llama.cpp, where installed.")
    ] = False,
    gguf: Annotated[
        Path | None, typer.Option(help="The same model as a GGUF file, for llama.cpp.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Profile of `t2 calibrate`: predictions beside figures.")
    ] = None,
    datasheet_flops: Annotated[
        float | None, typer.Option(help="The machine's peak by its datasheet, FLOP/s.")
    ] = None,
    datasheet_bytes: Annotated[
        float | None, typer.Option(help="Its memory's bandwidth by the datasheet, bytes/s.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the result here, as JSON.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Save what a busy machine gave too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Time prefill and decoding of MODEL on the CPU, with its prompt shared and not.

    Example: t2 bench --n 1,64,256 --prompt-tokens 32
    """
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise ValueError(f"--out must be a file in a directory that exists, got {out}")
    counts, lengths = numbers("--n", n), numbers("--prompt-tokens", prompt_tokens)
    from t2engine.files import write_text
    from t2engine.hardware.bench import bench_model
    from t2engine.hardware.bench_plan import BenchSettings
    from t2engine.reports.bench import print_bench

    settings = BenchSettings(
        model=model,
        num_samples=counts,
        prompt_tokens=lengths,
        suffix_tokens=suffix_tokens,
        dtype=dtype,
        kv_cache_dtype=kv_cache_dtype,
        threads=threads,
        rounds=rounds,
        peers=peers,
        gguf=gguf,
        profile=profile,
        datasheet_flops=datasheet_flops,
        datasheet_bytes=datasheet_bytes,
    )
    with showing_progress("measuring") as tell:
        result = bench_model(settings, tell)
    text = json.dumps(asdict(result))
    if as_json:
        print(text)
    else:
        print_bench(result)
    saved = out is not None and (force or not result.busy)
    if result.busy:
        unsaved = f"; {out} was not written (--force writes it)" if out and not saved else ""
        print(f"t2 bench: {busy_words(result.conditions)}{unsaved}", file=sys.stderr)
    if out is not None:
        if not saved:
            raise typer.Exit(1)
        write_text(out, text + "\n")


def numbers(option: str, texts: Sequence[str] | None) -> tuple[int, ...] | None:
    """Whole numbers of at least 1, from comma lists; None where nothing was given."""
    if texts is None:
        return None
    parts = [part.strip() for text in texts for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) >= 1 for part in parts):
        raise ValueError(
            f"{option} must be whole numbers of at least 1 with commas between them, "
            f"got {','.join(texts)!r}"
        )
    return tuple(dict.fromkeys(map(int, parts)))


def busy_words(conditions: Mapping[str, Any]) -> str:
    busy, rounds = conditions["busy_rounds"], conditions["rounds"]
    before = conditions["load_before"]
    return (
        f"other programs used this machine in {busy} of {rounds} rounds, so figures may be low; "
        f"end them and run again (before it began: {before})"
    )
