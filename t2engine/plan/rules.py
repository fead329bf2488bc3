"""How one answer is chosen among k samples, and when sampling stops: what a plan is judged by.

    neither option       all k samples are drawn and a perfect verifier looks on: pass@k
    a verifier (t, f)    the first sample that it accepts is the answer; none accepted is wrong
    stop at the first    drawing ends there too: k is the most that are drawn, and a question costs
                         the expected samples E(N, D, k) <= k; an inference budget is what is
                         expected to be spent, and so is one budget's part for samples

Success rises with k under both, so a plan never wants fewer samples than it can pay for. Where a
verifier accepts wrong answers it stops rising, and beyond laws/verified.py's enough_samples none
are bought. Limits hold for k itself, latency and memory too. Measured costs price E samples that
are drawn together. Majority vote is not a rule here: a law of p says nothing of how wrong answers
are spread (laws/majority.py).

Units:  rates of all right, and of all wrong, answers; k samples per question.
Raises: ValueError for rates that cannot be, and for a law without a spread of p over questions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from t2engine.laws.pass_law import PassLaw
from t2engine.laws.verified import VerifiedLaw
from t2engine.laws.verifier import Verifier

ENDLESS = 1e9  # the k of a plan that goes on until a sample is accepted


@dataclass(frozen=True)
class SelectionRule:
    verifier: Verifier = field(default_factory=Verifier)
    stop_at_first: bool = False

    def __post_init__(self) -> None:
        t, f = self.verifier.true_positive_rate, self.verifier.false_positive_rate
        if t == 0:
            raise ValueError(
                "verifier: the true-positive rate must be above 0 and at most 1, got 0"
            )
        if f == 1:
            raise ValueError(
                "verifier: the false-positive rate must be at least 0 and below 1, got 1: a "
                "verifier that accepts everything returns the first sample"
            )

    @property
    def is_plain(self) -> bool:
        return self == SelectionRule()

    @property
    def success_name(self) -> str:
        return "pass@k" if self.verifier.is_perfect else "verified success"

    @property
    def description(self) -> str:
        t, f = self.verifier.true_positive_rate, self.verifier.false_positive_rate
        words = []
        if not self.verifier.is_perfect:
            words.append(
                f"the answer is the first sample that a verifier accepts; it accepts {t:.4g} of "
                f"right and {f:.4g} of wrong ones"
            )
        if self.stop_at_first:
            words.append("sampling stops at the first accepted sample, k is the most drawn")
        return "; ".join(words)

    def judge(self, law: PassLaw) -> PassLaw:
        return law if self.is_plain else VerifiedLaw(law, self.verifier)

    def warnings(self, measured: bool) -> tuple[str, ...]:
        """measured: costs are a machine's."""
        t, f = self.verifier.true_positive_rate, self.verifier.false_positive_rate
        words: tuple[str, ...] = ()
        if f >= t:
            words += (
                f"the verifier accepts wrong answers at least as often as right ones ({f:.4g} and "
                f"{t:.4g}): the answer that it picks is no better than any sample",
            )
        if self.stop_at_first and measured:
            words += (
                "the measured cost of serving is that of the expected samples, drawn together; "
                "how their number differs between questions is not priced",
            )
        return words


def rule_for(verifier: str | None, stop_at_first: bool) -> SelectionRule:
    """`verifier` is T,F as written on a command line: two rates."""
    if verifier is None:
        return SelectionRule(stop_at_first=stop_at_first)
    try:
        t, f = (float(word) for word in verifier.split(","))
    except ValueError:
        raise ValueError(
            "verifier must be two rates T,F, how often right and wrong answers are accepted, such "
            f"as 0.9,0.05, got {verifier!r}"
        ) from None
    return SelectionRule(Verifier(t, f), stop_at_first)
