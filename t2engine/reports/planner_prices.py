"""Measured prices as the tables that the planner itself interpolates: nothing is lost in a page.

Shapes: M rungs of the ladder of shapes, K values of k; natural logarithms throughout.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from t2engine.costs.calibrated import CalibratedCost
from t2engine.costs.formula import Demand

DIGITS = 12


def price_tables(costs: CalibratedCost, demand: Demand) -> dict[str, Any]:
    """ln of the price of a training token [M], and [M, K] of serving the whole demand, of serving
    one question alone in seconds, and of the bytes to serve in.

    `proportional_from`: with so many questions or more the machine is full whatever k, and the
    price of serving is in proportion to them.
    """
    log_N, log_k, log_serve = costs.table(demand)
    log_N_token, log_token = costs.token_prices
    alone = replace(demand, questions=1.0)
    memory = costs.memory_bytes(np.exp(log_N)[:, None], np.exp(log_k), demand)
    tables = {
        "log_N": log_N,
        "log_k": log_k,
        "log_N_token": log_N_token,
        "log_token": log_token[:, 0],
        "log_serve": log_serve,
        "log_alone": costs.by_the_second.table(alone)[2],
        "log_memory": np.log(memory),
    }
    return {
        "kind": "tables",
        "questions": demand.questions,
        "proportional_from": costs.max_num_seqs,
        **{name: np.round(x, DIGITS).tolist() for name, x in tables.items()},
    }
