"""What the samples being decoded have drawn so far, and how they draw, by slot.

The native step reads and moves these arrays; the operations read gathered rows of them. A row's
uniform is philox_uniform(seed, prompt identity, sample index, step), so a draw depends on nothing
but the sample's own logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from t2engine import ops
from t2engine.engine.requests import Group, Request, signed
from t2engine.engine.scheduler import Assignment

FLOATS = ("temperature", "top_p", "min_p")
INTEGERS = ("top_k", "seed", "prompt", "sample", "max_new_tokens", "end_set")


class Slots:
    """history [slots, capacity], drawn [slots] and the columns [slots], int64 or float32."""

    def __init__(self, num_slots: int, capacity: int, requests: Sequence[Request]) -> None:
        self.history = torch.zeros(num_slots, capacity, dtype=torch.int64)
        self.drawn = torch.zeros(num_slots, dtype=torch.int64)
        self.columns = {
            **{name: torch.zeros(num_slots) for name in FLOATS},
            **{name: torch.zeros(num_slots, dtype=torch.int64) for name in INTEGERS},
        }
        # The tokens that end a sample, each distinct set once.
        self.end_sets = {ids: i for i, ids in enumerate({r.end_ids: None for r in requests})}
        sizes = torch.tensor([0, *(len(ids) for ids in self.end_sets)])
        self.end_bounds = sizes.cumsum(0)
        self.end_ids = torch.tensor(
            [token for ids in self.end_sets for token in sorted(ids)], dtype=torch.int64
        )

    def start(self, assignments: Sequence[Assignment]) -> None:
        """Samples that have just been given their slots: nothing drawn yet."""
        slots = torch.tensor([slot for *_, slot in assignments])
        self.drawn[slots] = 0
        of_group: dict[tuple[int, int], list[tuple[int, int]]] = {}
        parts: dict[tuple[int, int], tuple[Group, Request]] = {}
        for group, request, index, slot in assignments:
            key = id(group), id(request)
            parts[key] = group, request
            of_group.setdefault(key, []).append((request.first_index + index, slot))
        for key, taken in of_group.items():
            samples, rows = torch.tensor(taken).T
            for name, value in self.settings(*parts[key]).items():
                self.columns[name][rows] = value
            self.columns["sample"][rows] = samples

    def settings(self, group: Group, request: Request) -> dict[str, float]:
        """How every sample of a request draws."""
        params = request.params
        return {
            "temperature": params.temperature,
            "top_p": params.top_p,
            "min_p": params.min_p,
            "top_k": params.top_k,
            "seed": signed(request.seed),
            "prompt": group.prompt_id,
            "max_new_tokens": request.max_new_tokens,
            "end_set": self.end_sets[request.end_ids],
        }

    def draw(self, slots: Tensor, logits: Tensor, threads: int) -> tuple[Tensor, Tensor]:
        """Draw and record a token for each of these slots; logits [R, V].

        Returns the tokens [R], and their log-probabilities under the distribution drawn from [R].
        """
        step = self.drawn[slots]
        row = {name: column[slots] for name, column in self.columns.items()}
        uniform = ops.philox_uniform(
            row["seed"], row["prompt"], row["sample"], step, threads=threads
        )
        tokens, logprobs = ops.sample_tokens(
            logits,
            row["temperature"],
            row["top_k"],
            row["top_p"],
            row["min_p"],
            uniform,
            threads=threads,
        )
        self.history[slots, step] = tokens
        self.drawn[slots] = step + 1
        return tokens, logprobs

    def draw_parts(self) -> dict[str, Tensor]:
        return {**self.columns, "end_bounds": self.end_bounds, "end_ids": self.end_ids}

    def tokens(self, slot: int) -> list[int]:
        """All that the slot's sample has drawn."""
        count = self.drawn.numpy()[slot]
        drawn: list[int] = self.history.numpy()[slot, :count].tolist()
        return drawn
