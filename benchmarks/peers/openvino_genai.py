"""OpenVINO GenAI: LLMPipeline on the CPU, which batches continuously and caches prefixes.

A fresh prompt is prefilled by a call for one token, and is then in the prefix cache; decode seconds
are those of the call for all tokens less the faster of two for one, all on the cached prompt. The
modes ask for k return sequences, or for k equal prompts, which draw equal samples with equal work.

Precisions: "default" is the plugin's own choice (bfloat16 where the CPU has it, else float32) with
its 8-bit cache; "f32" asks for float32 arithmetic, the cache still in 8 bits; "f32-f32" also for a
float32 cache; "int8" has weights of 8 bits. The model is exported with optimum-intel, once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peers.protocol import RefusedError, Timing, serve

ATTEMPTS = 3  # at a call that takes longer for all tokens than for one
MODES = ("return sequences", "equal prompts")
PRECISIONS = {  # weights as exported, properties of the plugin
    "default": ("fp32", {}),
    "f32": ("fp32", {"INFERENCE_PRECISION_HINT": "f32"}),
    "f32-f32": ("fp32", {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}),
    "int8": ("int8", {}),
}


def available() -> str | None:
    try:
        import openvino_genai  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


def export(model_dir: Path, weights: str) -> Path:
    """The exported model beside the original, written if it is not there."""
    directory = model_dir / f"openvino-{weights}"
    if directory.exists():
        return directory
    command = Path(sys.executable).with_name("optimum-cli")
    if not command.exists():
        raise RefusedError(f"{directory} is not there, and optimum-intel to export it neither")
    partial = directory.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    arguments = ["--task", "text-generation-with-past", "--weight-format", weights]
    done = subprocess.run(
        [command, "export", "openvino", "--model", model_dir, *arguments, partial],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RefusedError(f"the export failed: {(done.stderr.splitlines() or ['?'])[-1]}")
    os.replace(partial, directory)
    return directory


class OpenVINO:
    def versions(self) -> dict[str, str]:
        import openvino
        import openvino_genai

        return {"openvino": openvino.__version__, "openvino-genai": openvino_genai.__version__}

    def modes(self, num_samples: int) -> list[str]:
        return list(MODES) if num_samples > 1 else [MODES[0]]

    def load(self, model_dir: Path, precision: str, threads: int) -> None:
        import openvino_genai

        if precision not in PRECISIONS:
            raise RefusedError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}"
            )
        weights, properties = PRECISIONS[precision]
        self.pipeline = openvino_genai.LLMPipeline(
            str(export(model_dir, weights)), "CPU", INFERENCE_NUM_THREADS=threads, **properties
        )

    def run(
        self, prompt_ids: list[int], num_samples: int, new_tokens: int, seed: int, mode: str
    ) -> Timing:
        prefill = self.generate(prompt_ids, 1, 1, seed, mode)
        for _ in range(ATTEMPTS):
            # The first call may grow the cache; an interruption of it would flatter what is left.
            one = min(self.generate(prompt_ids, num_samples, 1, seed, mode) for _ in range(2))
            whole = self.generate(prompt_ids, num_samples, new_tokens, seed, mode)
            if whole > one:
                return Timing(prefill, whole - one, num_samples * (new_tokens - 1))
        raise RefusedError(f"a call for 1 token took {one:.3f} s, for all {whole:.3f} s: noise")

    def generate(
        self, prompt_ids: list[int], num_samples: int, new_tokens: int, seed: int, mode: str
    ) -> float:
        """Seconds of one call."""
        import numpy as np
        import openvino
        import openvino_genai

        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = new_tokens
        config.ignore_eos = True
        config.do_sample, config.temperature, config.rng_seed = True, 1.0, seed
        prompts = 1 if mode == "return sequences" else num_samples
        config.num_return_sequences = num_samples // prompts
        ids = np.tile(np.array(prompt_ids, np.int64), (prompts, 1))
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids))
        )
        began = time.perf_counter()
        result = self.pipeline.generate(inputs, config)
        seconds = time.perf_counter() - began
        assert [len(tokens) for tokens in result.tokens] == [new_tokens] * num_samples
        return seconds


if __name__ == "__main__":
    serve(OpenVINO, available)
