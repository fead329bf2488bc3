"""Token ids of the shipped model, kept so that no change can alter samples unnoticed.

`make golden` rewrites tests/golden.json; look at its difference before committing it.
"""

from __future__ import annotations

import json
from pathlib import Path

from t2engine import LLM, SHIPPED_MODEL, SamplingParams

PATH = Path(__file__).with_suffix(".json")
PROMPTS = ["12+47*3-58=", "7*8+1=", "9-1+3="]
SETTINGS = {
    "greedy": SamplingParams(temperature=0, max_tokens=16),
    "sampled": SamplingParams(n=4, seed=7, max_tokens=16),
    "truncated": SamplingParams(
        n=4, seed=8, temperature=0.8, top_k=8, top_p=0.9, min_p=0.02, max_tokens=16
    ),
    "penalised": SamplingParams(
        n=4, seed=9, repetition_penalty=1.2, presence_penalty=0.5, min_tokens=6, max_tokens=16
    ),
}


def sample_golden() -> dict[str, list[list[list[int]]]]:
    """By setting: for each prompt, the token ids of its samples."""
    llm = LLM(SHIPPED_MODEL, device="cpu")
    return {
        name: [
            [list(sample.token_ids) for sample in output.outputs]
            for output in llm.generate(PROMPTS, params)
        ]
        for name, params in SETTINGS.items()
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(sample_golden(), indent=1) + "\n")
    print(f"wrote {PATH}")
