"""How sure it is that the plans an audit found are better: over laws of other draws of models.

    share_better     of the laws, those by which the best plan at the audited cost succeeds more
    gain             quantiles over the laws of its pass@k less the audited plan's
    cheaper_change   the same of the plan of least cost: around 0, as by the law itself both are
                     as good, and the wider, the less sure it is that nothing is lost

Both plans stay where the fitted law put them; only what they do is predicted anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2engine.laws.draws import Resamples
from t2engine.plan.audit import AuditReport
from t2engine.plan.bands import LEVEL, Band
from t2engine.plan.optimizer import Plan


@dataclass(frozen=True)
class AuditOdds:
    share_better: float
    gain: Band
    cheaper_change: Band
    level: float
    num_laws: int
    source: str


def audit_odds(report: AuditReport, resamples: Resamples, level: float = LEVEL) -> AuditOdds | None:
    """None where the audited plan is the best one: there is nothing to compare it with."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if report.is_best:
        return None
    audited, best = report.audited, report.best
    merits = [
        [float(law.merit(plan.N, plan.D, plan.k)) for plan in (best.better, audited)]
        for law in resamples.laws
    ]
    return AuditOdds(
        share_better=float(np.mean([better > own for better, own in merits])),
        gain=_band(resamples, best.better, audited, level),
        cheaper_change=_band(resamples, best.cheaper, audited, level),
        level=level,
        num_laws=len(resamples.laws),
        source=resamples.source,
    )


def _band(resamples: Resamples, plan: Plan, audited: Plan, level: float) -> Band:
    changes = [
        float(law.pass_at_k(plan.N, plan.D, plan.k))
        - float(law.pass_at_k(audited.N, audited.D, audited.k))
        for law in resamples.laws
    ]
    low, high = np.quantile(changes, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
