"""Gather counts of right answers one row at a time, in memory of the size of what is kept.

What is kept of a (checkpoint, question) is num_samples, num_correct and gold_nll, whether it came
as one row of counts or as a row for every sample: 40 bytes, and some 200 more of a sample table to
find its place again.

Raises: ValueError naming the file, the line and the column of a repeated or contradicting row.
"""

from __future__ import annotations

import math
from array import array

import numpy as np

from t2engine.laws.observed import Checkpoint, Observations

SAME_LOSS = 1e-6  # relative difference of two gold NLLs of one answer that is rounding


class Tally:
    """Counts under way; `observations` is what they came to."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.checkpoints: dict[Checkpoint, int] = {}
        self.questions: dict[str, int] = {}
        self.places: dict[int, int] = {}  # of (checkpoint, question), for samples
        self.lines, self.at, self.asked = array("q"), array("i"), array("i")
        self.samples, self.correct, self.nll = array("q"), array("q"), array("d")

    def checkpoint(self, found: Checkpoint) -> int:
        return self.checkpoints.setdefault(found, len(self.checkpoints))

    def add_counts(
        self, line: int, checkpoint: int, question: str, drawn: int, right: int, nll: float
    ) -> None:
        """The only row of this checkpoint and question."""
        self.lines.append(line)
        self.at.append(checkpoint)
        self.asked.append(self.questions.setdefault(question, len(self.questions)))
        self.samples.append(drawn)
        self.correct.append(right)
        self.nll.append(nll)

    def add_samples(
        self, line: int, checkpoint: int, question: str, drawn: int, right: int, nll: float
    ) -> None:
        """Some of this checkpoint's samples of this question; they add up."""
        asked = self.questions.setdefault(question, len(self.questions))
        place = self.places.setdefault(checkpoint << 32 | asked, len(self.samples))
        if place == len(self.samples):
            self.add_counts(line, checkpoint, question, drawn, right, nll)
            return
        self.samples[place] += drawn
        self.correct[place] += right
        if math.isnan(nll):
            return
        known = self.nll[place]
        if not math.isnan(known) and abs(known - nll) > SAME_LOSS * max(known, nll):
            raise ValueError(
                f"{self.source}: line {line}, column gold_nll: expected {known:g} as in another "
                f"row of the same checkpoint and question, got {nll:g}"
            )
        self.nll[place] = nll

    def observations(self) -> Observations:
        if not self.samples:
            raise ValueError(
                f"{self.source}: expected at least one observation below line 1, got none"
            )
        observations = Observations(
            source=self.source,
            checkpoints=tuple(self.checkpoints),
            questions=tuple(self.questions),
            checkpoint=np.frombuffer(self.at, np.int32),
            question=np.frombuffer(self.asked, np.int32),
            num_samples=np.frombuffer(self.samples, np.int64),
            num_correct=np.frombuffer(self.correct, np.int64),
            gold_nll=np.frombuffer(self.nll, np.float64),
        )
        if not self.places:  # samples cannot repeat
            self._refuse_repeats(observations)
        return observations

    def _refuse_repeats(self, observations: Observations) -> None:
        pairs = observations.checkpoint.astype(np.int64) * len(observations.questions)
        pairs += observations.question
        order = np.argsort(pairs, kind="stable")
        repeats = np.flatnonzero(np.diff(pairs[order]) == 0)
        if repeats.size:
            lines = np.frombuffer(self.lines, np.int64)
            second = order[repeats + 1]
            row = second[np.argmin(lines[second])]
            model = observations.checkpoints[observations.checkpoint[row]].model
            question = observations.questions[observations.question[row]]
            raise ValueError(
                f"{self.source}: line {lines[row]}, column question: expected one row for each "
                f"checkpoint and question, got {question!r} of {model!r} again; add the counts up"
            )
