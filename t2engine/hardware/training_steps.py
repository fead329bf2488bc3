"""Time one optimiser step of a Llama: forward, cross entropy, backward, clipping and AdamW.

The model is random and in memory, its weights float32; on a GPU products run in bfloat16 under
autocast. Tokens are random and made before the clock starts. The first step of a shape allocates,
and the first of all also makes AdamW's moments: a caller drops them.

Shapes: token_ids [S, T]; S batch_size rows of T sequence_len tokens.
Units:  seconds of wall clock, the device idle at both ends.
Raises: ValueError for a model that is not of the family, and for a device, a number of threads or
        a shape that cannot be.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from t2engine.model.llama import build_optimizer, initialise
from t2engine.schema import ModelConfig

# Of the optimiser; they decide nothing about its speed.
BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.1
GRADIENT_CLIP = 1.0


class TrainingBench:
    """A model in training on random tokens, the same ones for every step of one shape."""

    def __init__(
        self, config: ModelConfig, device: str = "cpu", threads: int = 1, seed: int = 0
    ) -> None:
        check_device(device)
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.config = config
        self.device = torch.device(device)
        self.threads = threads
        self.seed = seed
        self.model = initialise(config, seed).to(self.device)
        self.optimizer = build_optimizer(self.model, BETAS, WEIGHT_DECAY)

    def step(self, batch_size: int, sequence_len: int) -> float:
        """Seconds of one optimiser step."""
        token_ids = self.draw_tokens(batch_size, sequence_len)
        targets = token_ids.roll(-1, dims=1)
        with num_threads(self.threads):
            self.synchronise()
            started = time.perf_counter()
            loss = self.loss(token_ids, targets)
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_CLIP)
            self.optimizer.step()
            self.synchronise()
            return time.perf_counter() - started

    def draw_tokens(self, batch_size: int, sequence_len: int) -> Tensor:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not 1 <= sequence_len <= self.config.max_context_len:
            raise ValueError(
                f"sequence_len must be 1 to {self.config.max_context_len}, the model's "
                f"max_context_len, got {sequence_len}; give the model a longer context"
            )
        generator = torch.Generator().manual_seed(self.seed)
        shape = (batch_size, sequence_len)
        return torch.randint(self.config.vocab_size, shape, generator=generator).to(self.device)

    def loss(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        on_gpu = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=on_gpu):
            logits = self.model(token_ids)  # [S, T, vocab_size]
            return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise ValueError(f'device must be "cpu" or "cuda", got {device!r}')
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError('device must be one that is there, got "cuda" without a GPU; say "cpu"')


@contextmanager
def num_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
