"""The refits of a counts law as a part of its file, so that bands need neither a fit nor data.

    {"parameters": [[...], ...], "N": [...], "D": [...], "deviation": [...], "rest": [[...], ...],
     "seed": 0}

What laws/counts_bands.py draws bands from: the vectors of the refitted laws, and N, D and the
deviation of every checkpoint from the law.

Shapes: parameters [R, 9] of R refits; N, D, deviation [M]; rest [M, K] over SAMPLES_OF_INTEREST.
Raises: ValueError naming the key, what was expected and what was there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from t2engine.laws.counts import SAMPLES_OF_INTEREST, CountsLaw, law_of
from t2engine.laws.counts_bands import CountsBands
from t2engine.laws.counts_likelihood import NAMES
from t2engine.laws.gamma import Array

ARRAYS = ("parameters", "N", "D", "deviation", "rest")


def bands_to_dict(bands: CountsBands) -> dict[str, Any]:
    return {
        "parameters": [law.vector.tolist() for law in bands.laws],
        **{name: getattr(bands, name).tolist() for name in ARRAYS[1:]},
        "seed": bands.seed,
    }


def bands_from_dict(document: Any, law: CountsLaw) -> CountsBands:
    if not isinstance(document, Mapping) or set(document) != {*ARRAYS, "seed"}:
        wanted = sorted((*ARRAYS, "seed"))
        raise ValueError(
            f"law file: resamples must be null or have {wanted}, got {document!r:.200}"
        )
    found = {name: _numbers(document[name], name) for name in ARRAYS}
    M, seed = found["N"].size, document["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ValueError(f"law file: seed of resamples must be a whole number, got {seed!r}")
    wanted_shapes = {
        "parameters": (len(found["parameters"]), len(NAMES)),
        **dict.fromkeys(("N", "D", "deviation"), (M,)),
        "rest": (M, SAMPLES_OF_INTEREST.size),
    }
    for name, shape in wanted_shapes.items():
        if found[name].shape != shape or not found[name].size:
            raise ValueError(
                f"law file: {name} of resamples must be {list(shape)} numbers, got "
                f"{list(found[name].shape)}"
            )
    laws = tuple(law_of(vector) for vector in found.pop("parameters"))
    return CountsBands(laws=laws, law=law, seed=seed, **found)


def _numbers(given: Any, name: str) -> Array:
    try:
        values = np.atleast_1d(np.array(given, float))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"law file: {name} of resamples must be numbers in rows, got {given!r:.80}"
        ) from error
    if not np.isfinite(values).all():
        raise ValueError(f"law file: {name} of resamples must be finite")
    return values
