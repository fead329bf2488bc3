"""What this machine gives, now: the highest GEMM rate and read bandwidth anybody reaches.

The GEMM rate is the best call over the model's own shapes, M = 256 and 1024 rows, by our packed
`linear` and by torch. The bandwidth is the best piece of a pass over memory many times the size of
the caches, by torch's sum and dot and by `linear` with one row over it as weights. Calls are of
milliseconds, so that some of them meet no interruption. Measured in turn with the engines: every
repeat has rates of the same minute.

Units: FLOPs and bytes per second.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from t2engine import ops
from t2engine.ops import PANEL, PackedWeight, pack_weight
from t2engine.schema import ModelConfig

ROWS = (256, 1024)
CALLS = 5  # of a product, at least
SECONDS = 0.1  # for a product, at least
READ_ELEMENTS = 2**28  # 1 GiB of float32
PIECE = 2**24  # elements read by a call
PASSES = 3
READ_WIDTH = 4096  # input features of the weights that are read


def shapes(config: ModelConfig) -> set[tuple[int, int]]:
    """Output and input features of the model's products."""
    query_width = config.num_heads * config.head_dim
    key_width = config.num_kv_heads * config.head_dim
    hidden, inner = config.hidden_size, config.intermediate_size
    vocabulary = min(config.vocab_size, 4096)  # as fast as all of it, and sooner done
    return {
        (query_width + 2 * key_width, hidden),
        (hidden, query_width),
        (2 * inner, hidden),
        (hidden, inner),
        (vocabulary, hidden),
    }


class RateMeter:
    """Holds the operands, so that a measurement only computes."""

    def __init__(self, config: ModelConfig, threads: int) -> None:
        self.threads = threads
        generator = torch.Generator().manual_seed(0)
        self.products = []
        for N, K in sorted(shapes(config)):
            weight = torch.randn(N, K, generator=generator)
            for rows in ROWS:
                x = torch.randn(rows, K, generator=generator)
                self.products.append((x, weight, pack_weight(weight)))
        self.memory = torch.ones(READ_ELEMENTS)

    def measure(self) -> dict[str, float]:
        """By name, each in its unit."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                return {
                    "gemm_linear": self.best_gemm(self.ours),
                    "gemm_torch": self.best_gemm(torch_linear),
                    "gemm_torch_bfloat16": self.best_gemm(torch_linear, torch.bfloat16),
                    "read_sum": self.best_read(torch.sum),
                    "read_dot": self.best_read(lambda piece: torch.dot(piece, piece)),
                    "read_linear": self.best_read(self.read_by_linear),
                }
        finally:
            torch.set_num_threads(before)

    def best_gemm(
        self, product: Callable[..., object], dtype: torch.dtype = torch.float32
    ) -> float:
        best = 0.0
        for x, weight, packed in self.products:
            flops = 2 * x.shape[0] * weight.numel()
            a, b = x.to(dtype), weight.to(dtype)
            seconds = best_seconds(lambda a=a, b=b, p=packed: product(a, b, p))
            best = max(best, flops / seconds)
        return best

    def ours(self, x: torch.Tensor, weight: torch.Tensor, packed: PackedWeight) -> object:
        return ops.linear(x, packed, None, threads=self.threads)

    def best_read(self, read: Callable[[torch.Tensor], object]) -> float:
        """A pass over all pieces lies between two readings of one: no cache still has it."""
        best = 0.0
        for piece in self.memory.split(PIECE) * PASSES:
            began = time.perf_counter()
            read(piece)
            best = max(best, piece.nbytes / (time.perf_counter() - began))
        return best

    def read_by_linear(self, piece: torch.Tensor) -> None:
        """Every byte of the piece as somebody's weight, once."""
        panels = piece.view(-1, READ_WIDTH, PANEL)  # [N / PANEL, K, PANEL]
        x = torch.ones(1, READ_WIDTH)
        weight = PackedWeight(panels, len(panels) * PANEL, READ_WIDTH)
        ops.linear(x, weight, None, threads=self.threads)


def torch_linear(x: torch.Tensor, weight: torch.Tensor, packed: PackedWeight) -> object:
    return torch.nn.functional.linear(x, weight)


def best_seconds(call: Callable[[], object]) -> float:
    call()
    best, calls, started = float("inf"), 0, time.perf_counter()
    while calls < CALLS or time.perf_counter() - started < SECONDS:
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
        calls += 1
    return best
