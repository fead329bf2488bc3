"""How many samples a question gets: more of them where right ones are rare.

    n = first; while c < enough and n < most: n = min(2 n, most)

c of n samples are right. Whether to go on depends on the counts seen so far and on nothing else, so
the probability of the whole course of a question is p^c (1 - p)^(n - c) times a factor without p:
the binomial's, but for a constant. What is inferred by likelihood, a Beta over questions or the
counts law, therefore needs no correction for the rule (the likelihood principle; Berger and Wolpert
1988, The Likelihood Principle, section 4.2).

Averages do need one. c / n is not unbiased once c decided n, nor is 1 - C(n - c, k) / C(n, k); and
to drop the questions with n < k drops those that are often right. Take pass@k from the Beta fitted
to such counts (`laws/passk.py`, method "beta"), never from those estimators.

Raises: ValueError for a first or enough below 1, or a most below first.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoppingRule:
    """From `first` samples on, doubled until `enough` are right or there are `most`."""

    first: int = 16
    most: int = 256
    enough: int = 4

    def __post_init__(self) -> None:
        for name in ("first", "enough"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.most < self.first:
            raise ValueError(
                f"the most samples of a question must be at least its first {self.first}, "
                f"got {self.most}; raise the one or lower the other"
            )

    def next_samples(self, num_samples: int, num_correct: int) -> int | None:
        """How many samples there should be in all; None when there are enough."""
        if num_samples == 0:
            return self.first
        if num_correct >= self.enough or num_samples >= self.most:
            return None
        return min(2 * num_samples, self.most)


def fixed(num_samples: int) -> StoppingRule:
    """The same number of samples for every question."""
    return StoppingRule(num_samples, num_samples)
