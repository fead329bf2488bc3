"""A GGUF file run by llama.cpp, through llama-cpp-python's low-level calls: what its batched-bench
does.

The prompt is decoded once for sequence 0 and its cells are given to the other sequences; then each
step decodes one token of every sequence. Nothing is sampled: arbitrary tokens are fed, so the cost
of sampling is left out, in llama.cpp's favour. Keys and values are in f16, its default.

In mode "unified" all sequences share one cache, the prompt's cells held once; every query is scored
against all of it and masked. In "separate" each has its own, the prompt copied. Flash attention is
"auto" (on, where the CPU has it), as in batched-bench.

This module imports the standard library alone, and llama_cpp when a model is opened.

Units:  seconds, bytes.
Raises: ValueError for a file, or a number of sequences, that llama.cpp refuses.
"""

from __future__ import annotations

import ctypes
import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODES = ("unified", "separate")
MAX_BATCH = 2048  # tokens of a call, batched-bench's default
MICRO_BATCH = 512  # tokens computed at once, llama.cpp's default
CACHE_BYTES = 2  # an element of the keys and values, in f16
CELLS = 256  # a cache is planned in multiples of this
FIRST_PLAIN_TOKEN = 3


@dataclass(frozen=True)
class LlamaCppSeconds:
    """Of one call; handing the prompt's cells to the sequences is in none of them."""

    prefill: float
    first_step: float
    other_steps: float


class LlamaCppModel:
    """One at a time. modes: ways to do the same work."""

    def __init__(self, path: Path, threads: int) -> None:
        package = importlib.import_module("llama_cpp")
        self.api: Any = package.llama_cpp
        self.version: str = package.__version__
        self.threads = threads
        self.api.llama_backend_init()
        self.quiet = self.api.llama_log_callback(lambda level, text, data: None)
        self.api.llama_log_set(self.quiet, ctypes.c_void_p(0))
        params = self.api.llama_model_default_params()
        self.model = self.api.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise ValueError(f"llama.cpp cannot load {path}")

    def modes(self, num_samples: int) -> tuple[str, ...]:
        return MODES if num_samples > 1 else MODES[:1]

    def cache_bytes(self, prompt_len: int, num_samples: int, new_tokens: int, mode: str) -> int:
        api = self.api
        head_dim = api.llama_model_n_embd(self.model) // api.llama_model_n_head(self.model)
        widths = 2 * api.llama_model_n_head_kv(self.model) * head_dim
        cells = cells_of(prompt_len, num_samples, new_tokens, mode)
        return int(CACHE_BYTES * widths * api.llama_model_n_layer(self.model) * cells)

    def time_call(
        self, prompt_ids: Sequence[int], num_samples: int, new_tokens: int, mode: str
    ) -> LlamaCppSeconds:
        context = self.make_context(len(prompt_ids), num_samples, new_tokens, mode)
        try:
            return self.time(context, prompt_ids, num_samples, new_tokens)
        finally:
            self.api.llama_free(context)

    def make_context(self, prompt_len: int, num_samples: int, new_tokens: int, mode: str) -> Any:
        api = self.api
        params = api.llama_context_default_params()
        params.n_ctx = cells_of(prompt_len, num_samples, new_tokens, mode)
        params.n_batch, params.n_ubatch = MAX_BATCH, MICRO_BATCH
        params.n_seq_max = num_samples
        params.n_threads = params.n_threads_batch = self.threads
        params.kv_unified = mode == "unified"
        params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_AUTO
        context = api.llama_init_from_model(self.model, params)
        if not context:
            raise ValueError(f"llama.cpp makes no context of {num_samples} sequences, {mode}")
        return context

    def time(
        self, context: Any, prompt_ids: Sequence[int], num_samples: int, new_tokens: int
    ) -> LlamaCppSeconds:
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
            copied = stepped = time.perf_counter()
            for step in range(new_tokens):
                token, position = FIRST_PLAIN_TOKEN + step, prompt_len + step
                rows = [(token + sequence, position, sequence) for sequence in range(num_samples)]
                self.decode(context, batch, rows, logits_from=0)
                if step == 0:
                    stepped = time.perf_counter()
            ended = time.perf_counter()
        finally:
            api.llama_batch_free(batch)
        return LlamaCppSeconds(prefilled - began, stepped - copied, ended - stepped)

    def decode(
        self, context: Any, batch: Any, rows: list[tuple[int, int, int]], logits_from: int
    ) -> None:
        """One call for rows of (token, position, sequence); logits of those from logits_from on."""
        batch.n_tokens = len(rows)
        for i, (token, position, sequence) in enumerate(rows):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            batch.logits[i] = i >= logits_from
        code = self.api.llama_decode(context, batch)
        if code:
            raise ValueError(f"llama_decode returned {code} for {len(rows)} tokens")
        self.api.llama_synchronize(context)


def cells_of(prompt_len: int, num_samples: int, new_tokens: int, mode: str) -> int:
    """Tokens that a context has room for."""
    if mode == "unified":
        return rounded(prompt_len + num_samples * new_tokens)
    return num_samples * rounded(prompt_len + new_tokens)


def rounded(cells: int) -> int:
    return -(-cells // CELLS) * CELLS
