"""A law with one parameter a standard error above its fitted value.

Parameters of one fit move together: where their covariance is known the others follow as they
usually do,

    theta + cov[:, i] / sqrt(cov[i, i])

The covariance is that over refits to models drawn with replacement where there are any, else that
of the fit. Standard errors alone (of Approach 1 and 2) move one parameter and hold the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.approach2 import Approach2Law
from t2engine.laws.counts import CountsLaw, law_of
from t2engine.laws.counts_likelihood import NAMES
from t2engine.laws.pass_law import PassLaw

LEAST_ERROR = 1e-9  # of a parameter that did not move, such as one on its bound


def shifted_laws(law: PassLaw, refits: Sequence[PassLaw] = ()) -> dict[str, PassLaw]:
    """By the parameter's name; empty where nothing is known of errors."""
    if isinstance(law, CountsLaw):
        return _shifted_counts(law, [x for x in refits if isinstance(x, CountsLaw)])
    if law.fit is None or not isinstance(law, (Approach1Law, Approach2Law)):
        return {}
    found: dict[str, PassLaw] = {}
    own, of_training = ({x.name for x in fields(part)} for part in (law, law.training))
    for name, error in law.fit.standard_errors.items():
        if name in own:
            found[name] = replace(law, **{name: getattr(law, name) + error})
        elif isinstance(law, Approach2Law) and name in of_training:
            value = getattr(law.training, name) + error
            found[name] = replace(law, training=replace(law.training, **{name: value}))
    return found


def _shifted_counts(law: CountsLaw, refits: Sequence[CountsLaw]) -> dict[str, PassLaw]:
    if len(refits) > len(NAMES):
        covariance = np.cov(np.array([x.vector for x in refits]), rowvar=False)
    elif law.covariance:
        covariance = np.array(law.covariance)
    else:
        return {}
    found: dict[str, PassLaw] = {}
    for i, name in enumerate(NAMES):
        error = float(np.sqrt(max(covariance[i, i], 0.0)))
        if error > LEAST_ERROR:
            found[name] = replace(law_of(law.vector + covariance[:, i] / error), fit=law.fit)
    return found
