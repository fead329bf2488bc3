from __future__ import annotations

import numpy as np
import pytest

from t2engine.costs.formula import Demand, FormulaCost

COST = FormulaCost()


def test_the_formulas() -> None:
    assert COST.train(1e6, 2e7) == 6 * 1e6 * 2e7
    assert COST.serve(1e6, 8, Demand()) == 2 * 1e6 * 8
    assert COST.serve(1e6, 8, Demand(100, 16, 30)) == 100 * 2 * 1e6 * (8 * 16 + 30)


@pytest.mark.parametrize(
    ("N", "ratio", "k"), [(37e6, 3116.6, 27.03), (149e6, 192.2, 6.71), (901e6, 5.256, 1.11)]
)
def test_grid_of_the_paper(N: float, ratio: float, k: float) -> None:
    """Tokens per parameter and samples at its budgets of 2.56e19 and 2e9 FLOPs."""
    assert COST.tokens_for(N, 2.56e19) / N == pytest.approx(ratio, rel=1e-3)
    assert COST.samples_for(N, 2e9, Demand()) == pytest.approx(k, rel=1e-3)


def test_budgets_are_spent_to_the_last_flop() -> None:
    N, demand = np.array([1e5, 1e6, 1e7]), Demand(100, 16, 30)
    assert COST.train(N, COST.tokens_for(N, 1e15)) == pytest.approx(1e15, rel=1e-14)
    assert COST.serve(N, COST.samples_for(N, 1e12, demand), demand) == pytest.approx(1e12)


def test_a_prompt_that_eats_the_budget_leaves_no_sample() -> None:
    assert COST.samples_for(1e6, 1e6, Demand(1, 16, 30)) < 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("questions", 0), ("questions", -1), ("output_tokens", float("nan")), ("prompt_tokens", -1)],
)
def test_impossible_demands_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be"):
        Demand(**{field: value})
