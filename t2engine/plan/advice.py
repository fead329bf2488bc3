"""What a plan's numbers mean for the person who has to act on them, each with its evidence.

    beyond the data   N, D, k or D / N outside what the law was fitted on, and what to measure next:
                      halfway, in ln N, ln D and ln k, from the nearest checkpoint to the
                      plan, which halves how far the law reaches
    data wall         more tokens than there are: the limit given, else public figures
    many samples      the share of what one sample misses that 100 solve, by the law, at the median
                      of the checkpoints measured; below a half the task is like a knowledge task
    fine-tuning       D / N FAR times that of the compute-optimal plan, or more
    moves most        the largest moves of plan/sensitivity.py

Units:  N parameters, D training tokens, k samples per question.
Source: see STOCK, CORPUS, KNOWLEDGE and TUNING.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2engine.laws.gamma import Array
from t2engine.laws.law import FitReport
from t2engine.plan.optimizer import Plan, PlanReport
from t2engine.plan.sensitivity import Assumptions, Move
from t2engine.plan.words import count, times

SLACK = 1 + 1e-9  # a plan on the end of a range is inside
FAR = 5.0
MANY = 100  # samples
KNOWLEDGE_LIKE = 0.5  # of what one sample misses, solved by MANY
SHOWN_MOVES = 3
CORPUS_TOKENS, STOCK_TOKENS = 1.5e13, 3e14

CORPUS = "FineWeb, 15T tokens of web text (arXiv:2406.17557)"
STOCK = "public human text, some 300T tokens, 100T to 1,000T (arXiv:2211.04325)"
KNOWLEDGE = (
    "best overtrained against best compute-optimal pass@k at equal budgets: Simple Knowledge 14.6 "
    "against 5.8 %, Arithmetic 57.9 against 18.4 % (arXiv:2604.01411)"
)
TUNING = (
    "OLMo-1B pre-trained on 3T tokens was over 2 % worse after instruction tuning than on 2.3T "
    "(arXiv:2503.19206)"
)


@dataclass(frozen=True)
class Advice:
    topic: str
    text: str
    evidence: str


@dataclass(frozen=True, eq=False)
class Measured:
    """N and D of the checkpoints that a law was fitted to, [M]."""

    N: Array
    D: Array


def advise(
    report: PlanReport,
    given: Assumptions,
    measured: Measured | None = None,
    moves: Sequence[Move] = (),
) -> tuple[Advice, ...]:
    """`measured` where the checkpoints are known, not only their ranges."""
    found = (
        beyond_the_data(report, given, measured),
        data_wall(report, given, moves),
        many_samples(report, given, measured),
        fine_tuning(report),
        moves_most(moves),
    )
    return tuple(x for x in found if x is not None)


def beyond_the_data(
    report: PlanReport, given: Assumptions, measured: Measured | None
) -> Advice | None:
    plan, fit = report.t2, given.law.fit
    if fit is None:
        return None
    beyond = _beyond(plan, fit, measured)
    if not beyond:
        return None
    text = f"{beyond}: the law is guessing. {_next(report, given, fit, measured)}"
    others = _beyond(report.compute_optimal, fit, measured)
    if others:
        text += f" Compute-optimal: {others}."
    ranges = zip("NDk", (fit.N_range, fit.D_range, fit.k_range), strict=True)
    evidence = (
        f"fitted on {', '.join(f'{x} {count(a)} to {count(b)}' for x, (a, b) in ranges)}; the "
        "checkpoint to measure lies halfway from the nearest one to the plan, in logarithms"
    )
    return Advice("beyond the data", text, evidence)


def _beyond(plan: Plan, fit: FitReport, measured: Measured | None) -> str:
    """What of a plan lies outside the data, and how many times; empty where nothing does."""
    values = {"N": plan.N, "D": plan.D, "D/N": plan.tokens_per_parameter, "k": plan.k}
    ratios = fit.D_range[0] / fit.N_range[1], fit.D_range[1] / fit.N_range[0]
    if measured is not None:
        each = measured.D / measured.N
        ratios = float(each.min()), float(each.max())
    ranges = {"N": fit.N_range, "D": fit.D_range, "D/N": ratios, "k": fit.k_range}
    above = {x: values[x] / high for x, (_, high) in ranges.items()}
    below = {x: low / values[x] for x, (low, _) in ranges.items()}
    parts = []
    for factors, where in ((above, "above the largest"), (below, "below the smallest")):
        outside = [f"{x} {times(factor)}x" for x, factor in factors.items() if factor > SLACK]
        if outside:
            parts.append(f"{', '.join(outside)} {where}")
    return "; ".join(parts)


def _next(report: PlanReport, given: Assumptions, fit: FitReport, measured: Measured | None) -> str:
    """The nearest checkpoint, and the one that would halve the way to the plan."""
    plan = report.t2
    if measured is None:
        ends = ((plan.N, fit.N_range), (plan.D, fit.D_range))
        N, D = (min(max(x, low), high) for x, (low, high) in ends)
        nearest = "The data's nearest corner"
    else:
        away = np.log(measured.N / plan.N) ** 2 + np.log(measured.D / plan.D) ** 2
        at = int(np.argmin(away))
        N, D = float(measured.N[at]), float(measured.D[at])
        nearest = "Nearest measured"
    drawn = fit.k_range[1]
    samples = f" with {count(math.ceil(math.sqrt(drawn * plan.k)))} samples a question"
    if plan.k <= drawn * SLACK:
        samples = ""
    where = f"{nearest}: N {count(N)}, D {count(D)}{f', k {drawn:g}' if samples else ''}."
    if max(plan.N / N, N / plan.N, plan.D / D, D / plan.D) < SLACK:
        return f"{where} Measure it{samples}."
    half_N, half_D = math.sqrt(N * plan.N), math.sqrt(D * plan.D)
    share = float(given.cost.train(half_N, half_D)) / plan.train_cost
    return (
        f"{where} Measure next: N {count(half_N)}, D {count(half_D)}{samples}, "
        f"{share:.1%} of the plan's training cost: half as far to guess."
    )


def data_wall(report: PlanReport, given: Assumptions, moves: Sequence[Move]) -> Advice | None:
    D, most = report.t2.D, given.limits.most_tokens
    if most <= D * (1 + 1e-6):
        free = next((x for x in moves if x.change == "no limits"), None)
        if free is None or free.D is None or free.pass_at_k is None:
            return None
        return Advice(
            "data wall",
            f"without limits {times(free.D)}x the tokens would be trained on, for a pass@k of "
            f"{free.pass_at_k:.4g} in place of {report.t2.pass_at_k:.4g}.",
            f"the limit of {count(most)} tokens, and the plan without any limit",
        )
    if math.isfinite(most) or D <= CORPUS_TOKENS:
        return None
    known = STOCK if D > STOCK_TOKENS / 3 else CORPUS
    return Advice(
        "data wall",
        f"D is {times(D / (STOCK_TOKENS if known == STOCK else CORPUS_TOKENS))}x {known}; if so "
        "much data of your task cannot be made, give --unique-tokens.",
        f"{CORPUS}; {STOCK}",
    )


def many_samples(
    report: PlanReport, given: Assumptions, measured: Measured | None
) -> Advice | None:
    where = "over the checkpoints measured"
    if measured is None:
        measured, where = Measured(np.array([report.t2.N]), np.array([report.t2.D])), "at the plan"
    one, many = (given.law.pass_at_k(measured.N, measured.D, k) for k in (1.0, float(MANY)))
    solved = (many - one) / np.maximum(1 - one, 1e-300)
    middle = int(np.argsort(solved)[solved.size // 2])
    share = float(solved[middle])
    text = (
        f"{MANY} samples solve {share:.0%} of what one misses ({where}, in the middle: pass@1 "
        f"{float(one[middle]):.2g}, pass@{MANY} {float(many[middle]):.2g})"
    )
    if share < KNOWLEDGE_LIKE:
        text += (
            ", as where knowledge is asked for, which a small model cannot make up by samples: "
            "weigh a larger N"
        )
    return Advice("many samples", text + ".", KNOWLEDGE)


def fine_tuning(report: PlanReport) -> Advice | None:
    ratio = report.t2.tokens_per_parameter / report.compute_optimal.tokens_per_parameter
    if ratio < FAR:
        return None
    return Advice(
        "fine-tuning",
        f"D/N is {times(ratio)}x the compute-optimal plan's; models trained so long are harder to "
        "fine-tune (arXiv:2503.19206).",
        TUNING,
    )


def moves_most(moves: Sequence[Move]) -> Advice | None:
    """The largest move of each kind first, then the largest of the rest."""
    first: dict[str, Move] = {}
    for move in moves:
        first.setdefault(move.of, move)
    rest = [move for move in moves if move not in first.values()]
    shown = sorted([*first.values(), *rest][:SHOWN_MOVES], key=lambda move: -move.size)
    if not shown:
        return None
    return Advice(
        "moves most",
        "; ".join(f"{move.change} -> {_factors(move)}" for move in shown) + ".",
        "the plan again with one assumption changed at a time, at this budget; all are in "
        "`sensitivity` of --json",
    )


def _factors(move: Move) -> str:
    """The two largest of N, D and k that move by more than 2 %."""
    if move.N is None or move.D is None or move.k is None:
        return "nothing can be bought"
    factors = {"N": move.N, "D": move.D, "k": move.k}
    least = sorted(factors, key=lambda name: abs(math.log(factors[name])))[0]
    moved = [x for x in factors if x != least and abs(math.log(factors[x])) > 0.02]
    words = ", ".join(f"{x} x{times(factors[x])}" for x in moved) or "the same plan"
    return words + " or beyond" * move.at_edge
