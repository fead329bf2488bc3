"""What is measured: cells of (prompt tokens, samples, new tokens), and the prompts fed to them."""

from __future__ import annotations

import random
from dataclasses import dataclass

FIRST_PLAIN_TOKEN = 3  # after the special tokens of the made-up vocabulary


@dataclass(frozen=True)
class Cell:
    prompt_len: int  # P
    num_samples: int  # k
    new_tokens: int  # S, of each sample

    def __str__(self) -> str:
        return f"{self.prompt_len},{self.num_samples},{self.new_tokens}"

    def prompt(self, vocab_size: int, call: str) -> list[int]:
        """Random tokens; another `call` is another prompt, for peers that cache the last one."""
        draw = random.Random(f"{self} {call}")
        return [draw.randrange(FIRST_PLAIN_TOKEN, vocab_size) for _ in range(self.prompt_len)]


CELLS = (
    Cell(128, 8, 64),
    Cell(128, 64, 64),
    Cell(1024, 64, 64),
    Cell(4096, 64, 32),
    Cell(512, 256, 64),
    Cell(128, 1, 64),
)


def parse_cell(text: str) -> Cell:
    """A cell written P,k,S. Raises: ValueError."""
    try:
        prompt_len, num_samples, new_tokens = map(int, text.split(","))
    except ValueError:
        raise ValueError(f"a cell must be P,k,S such as 128,8,64, got {text!r}") from None
    if min(prompt_len, num_samples) < 1 or new_tokens < 2:
        raise ValueError(f"a cell needs P, k >= 1 and S >= 2 (a decode step), got {text!r}")
    return Cell(prompt_len, num_samples, new_tokens)
