"""Sample beside transformers' generate in one run: ratio of decode and of whole-call seconds.

    python benchmarks/against_transformers.py [--repeats 3] [--out benchmarks/results/FILE.json]

A random-weight Llama of 37.9M parameters (10 layers, hidden 512, 8/4 heads of 64, intermediate
1408, vocabulary 8192), P = 1024 prompt tokens, n = 64 samples of 64 tokens, temperature 1, float32.
The two take turns in one process; seconds are medians. The decode part of transformers is its call
less a call for one new token (its prefill); ours is the meter's. Peak memory is measured in a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

from t2engine import LLM, SamplingParams, metering
from t2engine.hardware.machine import examine

NUM_SAMPLES = 64
PROMPT_LEN = 1024
NEW_TOKENS = 64
VOCAB_SIZE = 8192
ALLOWANCE = 250 * 2**20  # bytes beyond weights, one prefix and n suffixes


def write_model(directory: Path) -> Path:
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=10,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(directory)
    return directory


def prompt() -> list[int]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, VOCAB_SIZE, (PROMPT_LEN,), generator=generator).tolist()


def params() -> SamplingParams:
    return SamplingParams(n=NUM_SAMPLES, max_tokens=NEW_TOKENS, seed=0, ignore_eos=True)


def time_ours(llm: LLM) -> dict[str, float]:
    began = time.perf_counter()
    [output] = llm.generate([prompt()], params())
    whole = time.perf_counter() - began
    return {"whole": whole, "decode": output.cost.decode_seconds}


def time_theirs(model: torch.nn.Module) -> dict[str, float]:
    def generate(new_tokens: int) -> float:
        began = time.perf_counter()
        model.generate(
            torch.tensor([prompt()]),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            num_return_sequences=NUM_SAMPLES,
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            eos_token_id=None,
            pad_token_id=0,
        )
        return time.perf_counter() - began

    prefill, whole = generate(1), generate(NEW_TOKENS)
    return {"whole": whole, "decode": whole - prefill}


def measure_peak(directory: Path, threads: int) -> int:
    """Bytes a fresh process held at most while it loaded the model and sampled."""
    command = [sys.executable, __file__, "--peak-of", str(directory), "--threads", str(threads)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(directory: Path, threads: int) -> None:
    LLM(directory, device="cpu", threads=threads).generate([prompt()], params())
    status = Path("/proc/self/status").read_text()  # ru_maxrss would keep the parent's
    print(1024 * int(status.partition("VmHWM:")[2].split()[0]))


def compare(directory: Path, threads: int, repeats: int) -> dict[str, object]:
    import transformers

    write_model(directory)
    peak = measure_peak(directory, threads)
    llm = LLM(directory, device="cpu", threads=threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
    ours, theirs = [time_ours(llm)], []  # the first of ours warms up and is dropped
    for _ in range(repeats):
        theirs.append(time_theirs(model))
        ours.append(time_ours(llm))
    seconds = {
        name: {part: [run[part] for run in runs] for part in ("whole", "decode")}
        for name, runs in (("t2engine", ours[1:]), ("transformers", theirs))
    }
    median = {n: {p: statistics.median(x) for p, x in s.items()} for n, s in seconds.items()}
    held = llm.model.nbytes + metering.key_value_bytes(
        llm.config, PROMPT_LEN + NUM_SAMPLES * NEW_TOKENS
    )
    return {
        "seconds": seconds,
        "ratio_whole": median["transformers"]["whole"] / median["t2engine"]["whole"],
        "ratio_decode": median["transformers"]["decode"] / median["t2engine"]["decode"],
        "tokens_per_second": NUM_SAMPLES * NEW_TOKENS / median["t2engine"]["decode"],
        "peak_bytes": peak,
        "peak_bytes_allowed": held + ALLOWANCE,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the result here, as JSON")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        print_peak(options.peak_of, options.threads)
        return
    with tempfile.TemporaryDirectory() as directory:
        result = compare(Path(directory), options.threads, options.repeats)
    machine = examine()
    machine.pop("operations")
    record = {
        "command": f"python benchmarks/against_transformers.py --repeats {options.repeats} "
        f"--threads {options.threads}",
        "date": date.today().isoformat(),
        "machine": machine,
        **result,
    }
    print(json.dumps(record, indent=2))
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
