"""llama.cpp through llama-cpp-python's low-level calls: what its batched-bench does.

The prompt is decoded once for sequence 0 and its cells are given to the other sequences; then each
step decodes one token of every sequence. Nothing is sampled: arbitrary tokens are fed, so the cost
of sampling is left out, in llama.cpp's favour. Keys and values are in f16, its default.

In mode "unified" all sequences share one cache, the prompt's cells held once; every query is scored
against all of it and masked. In "separate" each has its own, the prompt copied. Flash attention is
"auto" (on, where the CPU has it), as in batched-bench.

Precisions: f32, f16 and q8_0, of the matrices.
"""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

from benchmarks.peers.gguf_file import write_gguf
from benchmarks.peers.protocol import RefusedError, Timing, refuse_beyond_memory, serve

MODES = ("unified", "separate")
PRECISIONS = ("f32", "f16", "q8_0")
MAX_BATCH = 2048  # tokens of a call, batched-bench's default
MICRO_BATCH = 512  # tokens computed at once, llama.cpp's default
CACHE_BYTES = 2  # an element of the keys and values, in f16
CELLS = 256  # a cache is planned in multiples of this
FIRST_PLAIN_TOKEN = 3


def available() -> str | None:
    try:
        import gguf  # noqa: F401
        import llama_cpp  # noqa: F401
        import safetensors  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


class LlamaCpp:
    def __init__(self) -> None:
        import llama_cpp

        self.api = llama_cpp.llama_cpp
        self.api.llama_backend_init()
        self.quiet = self.api.llama_log_callback(lambda level, text, data: None)
        self.api.llama_log_set(self.quiet, ctypes.c_void_p(0))

    def versions(self) -> dict[str, str]:
        import llama_cpp

        built_for = self.api.llama_print_system_info().decode()
        return {"llama-cpp-python": llama_cpp.__version__, "system": built_for}

    def modes(self, num_samples: int) -> list[str]:
        return list(MODES) if num_samples > 1 else [MODES[0]]

    def load(self, model_dir: Path, precision: str, threads: int) -> None:
        if precision not in PRECISIONS:
            raise RefusedError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}"
            )
        path = write_gguf(model_dir, precision)
        self.threads = threads
        params = self.api.llama_model_default_params()
        self.model = self.api.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise RefusedError(f"llama.cpp cannot load {path}")

    def run(
        self, prompt_ids: list[int], num_samples: int, new_tokens: int, seed: int, mode: str
    ) -> Timing:
        context = self.make_context(len(prompt_ids), num_samples, new_tokens, mode)
        try:
            return self.time(context, prompt_ids, num_samples, new_tokens)
        finally:
            self.api.llama_free(context)

    def make_context(self, prompt_len: int, num_samples: int, new_tokens: int, mode: str):
        api = self.api
        params = api.llama_context_default_params()
        if mode == "unified":
            params.n_ctx = rounded(prompt_len + num_samples * new_tokens)
        else:
            params.n_ctx = num_samples * rounded(prompt_len + new_tokens)
        params.n_batch, params.n_ubatch = MAX_BATCH, MICRO_BATCH
        params.n_seq_max = num_samples
        params.n_threads = params.n_threads_batch = self.threads
        params.kv_unified = mode == "unified"
        params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_AUTO
        head_dim = api.llama_model_n_embd(self.model) // api.llama_model_n_head(self.model)
        widths = 2 * api.llama_model_n_head_kv(self.model) * head_dim
        layers = api.llama_model_n_layer(self.model)
        refuse_beyond_memory(CACHE_BYTES * widths * layers * params.n_ctx)
        context = api.llama_init_from_model(self.model, params)
        if not context:
            raise RefusedError(f"llama.cpp makes no context of {num_samples} sequences, {mode}")
        return context

    def time(self, context, prompt_ids: list[int], num_samples: int, new_tokens: int) -> Timing:
        api, prompt_len = self.api, len(prompt_ids)
        memory = api.llama_get_memory(context)
        batch = api.llama_batch_init(MAX_BATCH, 0, 1)
        try:
            began = time.perf_counter()
            for first in range(0, prompt_len, MAX_BATCH):
                part = prompt_ids[first : first + MAX_BATCH]
                rows = [(token, first + i, 0) for i, token in enumerate(part)]
                self.decode(context, batch, rows, logits_from=prompt_len - 1 - first)
            prefilled = time.perf_counter()
            for sequence in range(1, num_samples):
                api.llama_memory_seq_cp(memory, 0, sequence, -1, -1)
            copied = time.perf_counter()
            for step in range(new_tokens):
                token, position = FIRST_PLAIN_TOKEN + step, prompt_len + step
                rows = [(token + sequence, position, sequence) for sequence in range(num_samples)]
                self.decode(context, batch, rows, logits_from=0)
            ended = time.perf_counter()
        finally:
            api.llama_batch_free(batch)
        return Timing(prefilled - began, ended - copied, num_samples * new_tokens)

    def decode(self, context, batch, rows: list[tuple[int, int, int]], logits_from: int) -> None:
        """One call for rows of (token, position, sequence); logits of those from logits_from on."""
        batch.n_tokens = len(rows)
        for i, (token, position, sequence) in enumerate(rows):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            batch.logits[i] = i >= logits_from
        code = self.api.llama_decode(context, batch)
        if code:
            raise RefusedError(f"llama_decode returned {code} for {len(rows)} tokens")
        self.api.llama_synchronize(context)


def rounded(cells: int) -> int:
    return -(-cells // CELLS) * CELLS


if __name__ == "__main__":
    serve(LlamaCpp, available)
