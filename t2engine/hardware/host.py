"""What the host does for a sample outside the steps: to start it, end it, decode its text.

    seconds of a sample = (wall - prefill - decoding) / samples

of a whole call of the shipped model, with the seconds its own meter reports.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from t2engine.engine.llm import LLM
from t2engine.schema import SamplingParams

SAMPLES, TOKENS = 256, 16
PROMPT = "12+7="


def sample_task(threads: int, device: str = "cpu") -> Callable[[], float]:
    """A visit: seconds of one sample."""
    llm = LLM(device=device, threads=threads, max_num_seqs=SAMPLES)
    params = SamplingParams(n=SAMPLES, max_tokens=TOKENS, seed=0, ignore_eos=True)

    def visit() -> float:
        began = time.perf_counter()
        [output] = llm.generate([PROMPT], params, progress=False)
        wall = time.perf_counter() - began
        # Clocks are read twice: a call with next to nothing beside its steps may come out below 0.
        return max(wall - output.cost.seconds, 1e-9) / SAMPLES

    return visit
