from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from t2engine.laws.passk import beta_pass_at_k, unbiased_pass_at_k
from t2engine.reports.ladder import ladder_table, pass_at, rate_line, summarise
from t2engine.schema import Observation


def test_equal_counts_are_averaged_without_bias():
    n, c = [16] * 5, [0, 1, 2, 8, 16]
    for k, value in pass_at([1, 4, 16], n, c).items():
        assert value == pytest.approx(unbiased_pass_at_k(n, c, k).mean())


def test_counts_that_decided_how_many_are_not():
    """Planted a and b come out where the plain average is off."""
    rng = np.random.default_rng(3)
    p = rng.beta(0.4, 3.0, 20_000)
    c = rng.binomial(16, p)
    go_on = c < 4
    n = np.where(go_on, 32, 16)
    c = c + np.where(go_on, rng.binomial(16, p), 0)
    for k, value in pass_at([1, 4, 16], n.tolist(), c.tolist()).items():
        true = float(beta_pass_at_k(0.4, 3.0, k))
        assert value == pytest.approx(true, abs=0.006)
    assert unbiased_pass_at_k(n, c, 1).mean() > 1.02 * 0.4 / 3.4


def test_models_that_are_never_right_have_no_beta():
    assert pass_at([1, 4], [8, 4], [0, 0]) == {1: 0.0, 4: 0.0}


def test_rows_say_what_is_known_of_each_model():
    rows = [Observation(name, 5, 10, f"q{i}", 4, i, 1.5) for name in "ba" for i in range(3)]
    summaries = summarise(rows, {"a": {"seconds": 2.0}})
    assert [row["model"] for row in summaries] == ["b", "a"]
    assert [row.get("seconds") for row in summaries] == [None, 2.0]
    assert summaries[0]["samples"] == 12
    shown = io.StringIO()
    Console(width=120, file=shown).print(ladder_table(summaries, "arithmetic"))
    assert "arithmetic" in shown.getvalue()


def test_the_rate_is_that_of_what_was_drawn():
    drawn = {"drawn_tokens": 300, "seconds": 2.0, "share_of_engine_rate": 0.75}
    idle = {"drawn_tokens": 0, "seconds": 0.0, "share_of_engine_rate": None}
    want = "drew 600 tokens in 4 s: 150 a second, 75% of the engine's own rate"
    assert rate_line([drawn, idle, drawn]) == want
    assert rate_line([idle]) == "nothing was left to draw"
