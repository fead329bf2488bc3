"""Counts drawn from a known counts law, and how often its band on ln N* holds the truth.

    python -m tests.laws.planted 200

20 checkpoints (5 sizes by 4 token counts), 200 questions, 64 samples. The plan is the best N at
6 N D = C_train and 2 N k = C_inf; its band is the 5 % to 95 % quantile over draws of the fitted
law's parameters.
"""

from __future__ import annotations

import sys

import numpy as np

from t2engine.laws.counts import CountsLaw, fit_counts, law_of
from t2engine.laws.evidence import Evidence, counts_evidence
from t2engine.laws.gamma import Array
from t2engine.laws.observations import from_records
from t2engine.schema import Observation

SIZES = np.round(np.geomspace(5e4, 4e6, 5)).astype(int)
TOKENS = np.round(np.geomspace(5e5, 6.4e7, 4)).astype(int)
TRUTH = law_of(
    np.array([3.0, np.log(96.0), 0.35, np.log(960.0), 0.42, np.log(0.9), 1.2, -0.3, 0.0])
)
TRAIN_FLOPS, INFERENCE_FLOPS = 1.2e14, 2e6
LOG_N = np.linspace(np.log(1e4), np.log(INFERENCE_FLOPS / 2), 1500, endpoint=False)


def planted_records(
    seed: int, num_questions: int = 200, num_samples: int = 64
) -> list[Observation]:
    rng = np.random.default_rng(seed)
    found = []
    for N in SIZES.tolist():
        for D in TOKENS.tolist():
            a, b = TRUTH.link(TRUTH.ability(N, D))
            correct = rng.binomial(num_samples, rng.beta(a, b, size=num_questions))
            found += [
                Observation(f"m{N}-{D}", N, D, f"q{i}", num_samples, int(c), None)
                for i, c in enumerate(correct)
            ]
    return found


def planted_evidence(seed: int) -> Evidence:
    return counts_evidence(from_records(planted_records(seed)))


def best_log_n(law: CountsLaw) -> float:
    """ln N* by the best of a grid and the parabola through its neighbours."""
    N = np.exp(LOG_N)
    merit = law.merit(N, TRAIN_FLOPS / (6 * N), INFERENCE_FLOPS / (2 * N))
    at = int(np.clip(np.argmax(merit), 1, N.size - 2))
    left, here, right = merit[at - 1 : at + 2]
    bow = left - 2 * here + right
    nudge = 0.5 * (left - right) / bow if bow < 0 else 0.0
    return float(LOG_N[at] + (LOG_N[1] - LOG_N[0]) * np.clip(nudge, -1, 1))


def log_n_band(law: CountsLaw, seed: int, num_draws: int = 200) -> Array:
    drawn = [best_log_n(law_of(vector)) for vector in law.draws(num_draws, seed=seed)]
    return np.asarray(np.quantile(drawn, [0.05, 0.95]), float)


def share_covered(num_simulations: int) -> tuple[float, float, float]:
    """Share of bands that hold ln N*, mean width of a band, mean error of ln N*."""
    truth, held, widths, errors = best_log_n(TRUTH), 0, [], []
    for seed in range(num_simulations):
        law = fit_counts(planted_evidence(seed), num_starts=8, seed=seed)
        low, high = log_n_band(law, seed)
        held += low <= truth <= high
        widths.append(high - low)
        errors.append(best_log_n(law) - truth)
    return held / num_simulations, float(np.mean(widths)), float(np.mean(errors))


if __name__ == "__main__":
    covered, width, error = share_covered(int(sys.argv[1]))
    print(f"covered {covered:.3f}, mean width {width:.3f}, mean error {error:+.3f} of ln N*")
