from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2engine.laws.approach1 import Approach1Law
from t2engine.laws.pass_law import PassLaw
from t2engine.laws.repeated import DECAY, RepeatedData, effective_tokens
from t2engine.plan.optimizer import plan_budget
from t2engine.plan.problem import Budget

LAW = Approach1Law(
    E=1.817218, A=477.826, alpha=0.347310, B=2143.417, beta=0.367172, G=1.0, gamma=0.3
)
tokens = st.floats(0, 15).map(lambda x: float(10**x))


@pytest.mark.parametrize(
    ("epochs", "want"),
    [(1, "1"), (2, "1.9682"), (4, "3.7257"), (8, "6.6241"), (16, "10.5825"), (40, "15.1675")],
)
def test_reference_values(epochs: float, want: str) -> None:
    digits = len(want.partition(".")[2])
    assert f"{float(effective_tokens(epochs * 1e9, 1e9)) / 1e9:.{digits}f}" == want


@settings(max_examples=100, deadline=None, derandomize=True)
@given(D=tokens, U=tokens)
def test_repeats_count_for_something_and_for_less(D: float, U: float) -> None:
    now, later = effective_tokens([D, 1.5 * D], U)
    assert now <= later * (1 + 1e-12)
    assert min(D, U) * (1 - 1e-12) <= now <= min(D, U * (1 + DECAY)) * (1 + 1e-12)


def test_one_pass_is_whole_and_its_next_token_counts_as_fresh() -> None:
    U = 1e10
    assert effective_tokens([1.0, U / 3, U], U).tolist() == [1.0, U / 3, U]
    slope = (float(effective_tokens(U * (1 + 1e-6), U)) - U) / (U * 1e-6)
    assert slope == pytest.approx(1, abs=1e-6)
    assert float(effective_tokens(1e6 * U, U)) == pytest.approx(U * (1 + DECAY), rel=1e-12)


def test_an_endless_corpus_is_the_wrapped_law() -> None:
    N, D, k = np.array([1e6, 1e8]), np.array([1e9, 1e15]), 10.0
    law = RepeatedData(LAW, 1e300)
    assert law.pass_at_k(N, D, k).tolist() == LAW.pass_at_k(N, D, k).tolist()
    assert law.merit(N, D, k).tolist() == LAW.merit(N, D, k).tolist()
    assert (law.name, law.training, law.fit) == (LAW.name, LAW.training, LAW.fit)


def test_the_wrapped_law_sees_effective_tokens() -> None:
    law = RepeatedData(LAW, 1e9)
    D = float(law.effective_tokens(8e9))
    assert f"{D / 1e9:.4f}" == "6.6241"
    assert float(law.epochs(8e9)) == 8
    assert float(law.pass_at_k(1e8, 8e9, 5)) == float(LAW.pass_at_k(1e8, D, 5))
    assert float(law.merit(1e8, 8e9, 5)) == float(LAW.merit(1e8, D, 5))
    assert law.pass_at_k(1e8, 8e9, 5) < LAW.pass_at_k(1e8, 8e9, 5)


def test_a_plan_under_a_data_wall_trains_a_larger_model() -> None:
    budget = Budget(train=2.56e19, inference=2e9)
    free, limited = (plan_budget(as_pass_law(U), budget).t2 for U in (1e30, 1e9))
    assert pytest.approx(1.16952e8, rel=1e-3) == free.N
    assert limited.N > 1.05 * free.N
    assert limited.D < free.D
    assert limited.pass_at_k < free.pass_at_k


def as_pass_law(unique_tokens: float) -> PassLaw:
    return RepeatedData(LAW, unique_tokens)


def test_impossible_input_is_refused_by_name() -> None:
    for bad in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="unique_tokens must be above 0 and finite"):
            RepeatedData(LAW, bad)
        with pytest.raises(ValueError, match="unique_tokens must be above 0 and finite"):
            effective_tokens(1.0, bad)
        with pytest.raises(ValueError, match="decay must be above 0 and finite"):
            RepeatedData(LAW, 1e9, decay=bad)
